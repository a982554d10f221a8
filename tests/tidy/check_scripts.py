"""Shell and python scripts are well-formed, and what is meant to be run can be."""

import os
import subprocess
import sys

import tree


def check(path):
    text = (tree.TOP / path).read_bytes()
    first = text.split(b"\n", 1)[0]
    shell = first.startswith(b"#!") and b"sh" in first
    if shell:
        done = subprocess.run(["bash", "-n", tree.TOP / path], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            return done.stderr
    if path.suffix == ".py" or (first.startswith(b"#!") and b"python" in first):
        try:
            compile(text, str(path), "exec")
        except SyntaxError as error:
            return f"{path}:{error.lineno}: {error.msg}"
    if first.startswith(b"#!") and not os.access(tree.TOP / path, os.X_OK):
        return f"{path}: begins with #! and is not executable"
    return None


def main():
    wrong = [problem for problem in map(check, tree.files()) if problem]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
