#!/bin/sh
# One archive out of several, of which only belay_* can be seen: static libraries have no version script,
# and a program's own crc32c() must not meet ours.
#
# localize.sh LD OBJCOPY AR OUTPUT INPUT...
set -eu
ld=$1 objcopy=$2 ar=$3 output=$4
shift 4
object=${output%.a}.o
"$ld" -r --whole-archive "$@" -o "$object"
"$objcopy" --wildcard --keep-global-symbol='belay_*' "$object"
rm -f "$output"
"$ar" rcsD "$output" "$object"
rm -f "$object"
