/* What a fuzz target defines: it must take any bytes, and returns 0.
 *
 * A target checks with assert(): what a decoder accepted must make sense and, where there is an encoder,
 * come back from it. Memory of the input ends exactly after `size` bytes, so that reading past it shows.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
