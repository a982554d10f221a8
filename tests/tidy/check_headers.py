"""Each header compiles alone, as C11; the client's also as C++."""

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree

# Where headers of the project look for others; which of them they may take is check_includes' business.
FOLDERS = ["proto", "server/cluster", "server/core", "server/resp", "server/store", "server/uring", "server/control",
           "client/include", "tests/lib"]

def include_options():
    """Every -I and -isystem that the build uses, as absolute paths."""
    build = Path(os.environ["BELAY_BUILD"])
    options = []
    for row in json.loads((build / "compile_commands.json").read_text()):
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
    options = include_options()
    headers = tree.files(".h")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [problem for problem in pool.map(lambda h: compile_alone(h, options), headers)
                 if problem]
    print("\n".join(wrong))
    print(f"{len(headers)} headers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
