"""Each header compiles alone, as C11; the client's also as C++. One that comes first in a file that the build compiled did so there,
and is not compiled again."""

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree

# Where headers of the project look for others; which of them they may take is check_includes' business.
FOLDERS = ["proto", "server/cluster", "server/core", "server/resp", "server/store", "server/uring", "server/control",
           "client/include", "tests/lib"]

COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
FIRST_INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')

# Their files are in no build with a sanitizer, and only there a warning is an error.
WARNED_ONLY = ["tests/sim"]


def compiled_rows(build):
    return json.loads((build / "compile_commands.json").read_text())


def compiled_first(rows, headers):
    """Those that are the first thing in a file that was compiled after both changed: nothing but comments is before it."""
    found = set()
    for row in rows:
        folder = Path(row["directory"])
        source, made = (folder / row["file"]).resolve(), folder / row["output"]
        if not source.is_relative_to(tree.TOP) or not made.exists() or not source.exists():
            continue
        first = FIRST_INCLUDE.match(COMMENTS.sub("", source.read_text(encoding="utf-8")))
        header = source.parent / first[1] if first is not None else source
        if not header.exists() or header.resolve().relative_to(tree.TOP) not in headers:
            continue
        if made.stat().st_mtime > max(source.stat().st_mtime, header.stat().st_mtime):
            found.add(header.resolve().relative_to(tree.TOP))
    return {header for header in found if str(header.parent) not in WARNED_ONLY}


def include_options(rows):
    """Every -I and -isystem that the build uses, as absolute paths."""
    options = []
    for row in rows:
        words = shlex.split(row["command"])
        for index, word in enumerate(words):
            if word.startswith("-I"):
                option = "-I" + str((Path(row["directory"]) / word[2:]).resolve())
            elif word.startswith("-isystem"):
                path = word[len("-isystem"):] or words[index + 1]
                option = "-isystem" + str((Path(row["directory"]) / path).resolve())
            else:
                continue
            if option not in options:
                options.append(option)
    return options


def compile_alone(header, options):
    command = [*options, *(f"-I{folder}" for folder in FOLDERS), "-I", str(header.parent),
               "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-function",
               "-Werror", str(header)]
    runs = [["gcc", "-std=c11", "-pedantic", "-x", "c", *command]]
    if "client/include" in str(header):
        runs.append(["clang-14", "-std=c++11", "-nostdinc++", "-x", "c++", *command])
    for run in runs:
        done = subprocess.run(run, cwd=tree.TOP, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"{header} does not compile alone ({run[0]}):\n{done.stderr}"
    return None


def main():
    rows = compiled_rows(Path(os.environ["BELAY_BUILD"]))
    options = include_options(rows)
    headers = tree.files(".h")
    known = compiled_first(rows, set(headers))
    left = [header for header in headers if header not in known or "client/include" in str(header)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [problem for problem in pool.map(lambda h: compile_alone(h, options), left)
                 if problem]
    print("\n".join(wrong))
    print(f"{len(headers)} headers, {len(left)} of them compiled here")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
