"""All C files are laid out as clang-format 14 does it."""

import subprocess
import sys

import tree


def main():
    sources = [str(path) for path in tree.files(".c", ".h")]
    return subprocess.run(["clang-format-14", "--dry-run", "--Werror", *sources], cwd=tree.TOP,
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
