"""README.md's table of differences from Redis is the one of server/resp/differences.h (with `--write` it is made so), and
the tests that its rows name are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import tree

PROGRAM = Path(os.environ["BELAY_BUILD"]) / "tests" / "tidy" / "differences"
TESTS = tree.TOP / "tests"
TABLE = re.compile(r"(?<=what differs:\n\n)(?:\|[^\n]*\n)+")


def ask(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def main():
    readme = tree.TOP / "README.md"
    text, wanted, wrong = readme.read_text(encoding="utf-8"), ask(), []
    found = TABLE.findall(text)
    if sys.argv[1:] == ["--write"]:
        readme.write_text(TABLE.sub(lambda _: wanted, text), encoding="utf-8")
    elif found != [wanted]:
        lines = set(wanted.splitlines()) ^ set("".join(found).splitlines())
        wrong.append("README.md: the differences from Redis are not those of server/resp/differences.h; "
                     f"{Path(__file__).name} --write puts them there:\n" + "\n".join(sorted(lines)))
    for row in ask("--rows").splitlines():
        name, _, shown = row.split("\t")
        file, _, case = shown.partition(":")
        begin = re.compile(rf"^(def|static void) {case}\(", re.MULTILINE)
        if shown and not any(begin.search(path.read_text(encoding="utf-8")) for path in TESTS.glob(f"*/{file}")):
            wrong.append(f"server/resp/differences.h, row {name}: there is no test {shown}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
