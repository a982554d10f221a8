"""clang-tidy is clean over every file that the build compiles (.clang-tidy says which checks)."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree


def sources(build):
    """Files of the project in the compilation database, the big ones first, so that none is left over
    for the end."""
    known = set(tree.files(".c"))
    found = set()
    for row in json.loads((build / "compile_commands.json").read_text()):
        path = (Path(row["directory"]) / row["file"]).resolve()
        if path.is_relative_to(tree.TOP) and path.relative_to(tree.TOP) in known:
            found.add(path)
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def run(build, path):
    done = subprocess.run(
        ["clang-tidy-14", "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", path],
        capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode != 0 else ""


def main():
    build = Path(os.environ["BELAY_BUILD"])
    found = sources(build)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [output for output in pool.map(lambda path: run(build, path), found) if output]
    print("\n".join(wrong))
    print(f"{len(found)} files, {len(wrong)} with findings")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
