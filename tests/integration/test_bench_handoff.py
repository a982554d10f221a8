"""tools/bench/handoff and tools/bench/spike: that they find something for every figure, and that no client sees an error."""

import re
import subprocess
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import tree
from cases import run_cases
from daemon import SLOWNESS, check

TIMEOUT_S = 200 * SLOWNESS


def measured(name, *words):
    """What it printed, and the rows of its table, of which each has a figure, by what they are of."""
    done = subprocess.run([tree.TOP / "tools/bench" / name, "--quick", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT_S, check=False)
    check(done.returncode in (0, 1) and not done.stderr, done)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("| ")]
    check(table[0][0] == "figure", done.stdout)
    for figure, belay, *_ in table[2:]:
        check(re.match(r"\d", belay), (figure, done.stdout))
    return done.stdout, {row[0]: row[1:] for row in table[2:]}


def number(cell):
    return float(re.match(r"[\d.,]+", cell)[0].replace(",", ""))


def test_drain_beside_redis():
    """Both move sessions, Redis only those of some slots, without an error and without a loss."""
    _, rows = measured("handoff", "--only", "drain", "--sessions", "1000", "--rate", "300", "--slots", "400")
    check(len(rows) == 5, rows)
    for figure, (belay, redis, *_) in rows.items():
        if figure in ("errors of clients", "lost of acknowledged"):
            check((belay, redis) == ("0", "0"), rows)
        else:
            check(number(belay) > 0 and number(redis) > 0, rows)
    ours, theirs = re.search(r"; ([\d,]+) of 1024 B .* Redis ([\d,]+) in ", rows["drain: sessions per second"][4]).groups()
    check(1000 <= number(ours) < 2200 and 20 < number(theirs) < 200, rows)


def test_spike():
    """Load grows, two warm nodes take their part, and how p99 went is drawn."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch:
        svg = Path(scratch) / "spike.svg"
        said, rows = measured("spike", "--rise", "4", "--rate", "100", "--sessions", "1000", "--svg", svg)
        check(rows["errors of clients, BUSY apart"][0] == "0" and rows["lost of acknowledged"][0] == "0", rows)
        check(rows["copies of slots that the two nodes have"][2] == "ok", rows)
        check(number(rows["BUSY answers"][0]) >= 0, rows)
        plot = said[said.index("p99, ms"):].splitlines()[1:]
        check(len(plot) >= 6 and all(re.match(r" +\d+ +[\d,]+ +[\d.]+  #*", line) for line in plot), said)
        for what in ("two nodes are activated", "they have their part"):
            check(sum(what in line for line in plot) == 1, said)
        drawn = svg.read_text(encoding="utf-8")
        check(drawn.count("<polyline") == 2 and drawn.endswith("</svg>\n") and "they have their part" in drawn, drawn)
        xml.etree.ElementTree.fromstring(drawn)


if __name__ == "__main__":
    run_cases(__name__)
