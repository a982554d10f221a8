"""tools/bench/archive: that it finds something for every figure."""

import re
import subprocess

import tree
from cases import run_cases
from daemon import check


def test_archive_measures():
    """Its quicker parts, with a directory in the place of Ceph's gateway. What is lost is lost however short the
    time was."""
    done = subprocess.run([tree.TOP / "tools/bench/archive", "--file", "--quick", "--only", "ack,size,restore", "--sessions",
                           "2000", "--seconds", "1", "--repeats", "1"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=200, check=False)
    check(done.returncode in (0, 1) and not done.stderr, done)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()
             if line.startswith("| ")]
    check(table[0] == ["figure", "measured", "aim", "", "note"] and len(table) == 9, done.stdout)
    for figure, measured, _, verdict, _ in table[2:]:
        check(measured == "n/a" or verdict in ("ok", "MISSED") and re.match(r"\d", measured), (figure, done.stdout))
    lost = next(row for row in table if row[0] == "of these lost, wrong or left")
    check(lost[1:4] == ["0", "0", "ok"], done.stdout)


if __name__ == "__main__":
    run_cases(__name__)
