"""tools/bench/archive: that it finds something for every figure."""

import re
import subprocess

import tree
from cases import run_cases
from daemon import SLOWNESS, check

TIMEOUT_S = 200 * SLOWNESS


def measured(parts, *words):
    """The rows of parts of it, of which each has a figure, by what they are of; a directory is in the place of Ceph's
    gateway."""
    done = subprocess.run([tree.TOP / "tools/bench/archive", "--file", "--quick", "--only", parts, *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    check(done.returncode in (0, 1) and not done.stderr, done)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()
             if line.startswith("| ")]
    check(table[0] == ["figure", "measured", "aim", "", "note"], done.stdout)
    for figure, found, _, verdict, _ in table[2:]:
        check(verdict in ("ok", "MISSED") and re.match(r"\d", found), (figure, done.stdout))
    return {row[0]: row[1:] for row in table[2:]}


def test_archive_measures():
    """Its quicker parts. What is lost is lost however short the time was."""
    rows = measured("ack,size,restore", "--sessions", "2000", "--seconds", "1", "--repeats", "1")
    check(len(rows) == 7, rows)
    check(rows["of these lost, wrong or left"][:3] == ["0", "0", "ok"], rows)
    _, _, _, note = rows["first session that is asked for, once its node is given up"]
    check(re.match(r"[\d,]+ ms; [1-9]\d* more, one after the other", note), rows)


def test_lower_levels():
    """Each level has its latency and its cost, on with the archive and off without, of writes that were there."""
    rows = measured("lower", "--seconds", "0.5", "--repeats", "1")
    check(len(rows) == 4, rows)
    for figure, (_, _, _, note) in rows.items():
        on, off, rate = re.match(r"([\d.]+) \w+ and ([\d.]+) \w+; ([\d,]+) per second; ", note).groups()
        check(float(on) > 0 and float(off) > 0 and int(rate.replace(",", "")) > 0, (figure, note))


def test_all_nodes_lost():
    """Of what the archive has acknowledged nothing is missing once all nodes and disks are gone."""
    rows = measured("loss", "--rounds", "1", "--alone", "0.5")
    check(len(rows) == 3, rows)
    found, _, verdict, note = rows["all nodes killed, all disks lost: lost of ack archive"]
    check(found == "0" and verdict == "ok", rows)
    for figure, (_, _, _, note) in rows.items():
        acked = re.match(r"1 rounds, of ([\d,]+)", note)[1]
        check(int(acked.replace(",", "")) > 0 and "damaged or left" not in note, (figure, note))


if __name__ == "__main__":
    run_cases(__name__)
