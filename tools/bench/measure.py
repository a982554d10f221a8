"""What the measurements of this folder share: where server and load run, what of a run counts, tables and what made them."""

import math
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
os.environ.setdefault("BELAY_BUILD", str(TOP / "build"))
sys.path.insert(0, str(TOP / "tests/lib"))

from daemon import TICKS, Daemon, program  # noqa: E402

SERVER_CORE, LOAD_CORE = "0", "1"
ON_SERVER_CORE = ("taskset", "-c", SERVER_CORE)
LOAD = ["taskset", "-c", LOAD_CORE]
CONTENTION_MAX = 0.12
MIB = 1024 * 1024


class Fresh:
    """A started node with an empty data directory."""

    def __init__(self, wrapper=ON_SERVER_CORE, settings=()):
        self.daemon = Daemon(settings=["memory.limit=8GiB", "limits.queue_delay=100ms", *settings], shards=1, wrapper=wrapper)

    def __enter__(self):
        return self.daemon.__enter__().start()

    def __exit__(self, *failure):
        self.daemon.__exit__(*failure)


def machine_busy_seconds():
    """Processor time that all of this machine has spent on anything."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return (user + nice + system + irq + softirq) / TICKS


def settle(*servers):
    """Wait until they have done what earlier load left them to do: each run pays for itself alone."""
    for _ in range(40):
        before = sum(server.busy_seconds() for server in servers)
        time.sleep(0.5)
        if sum(server.busy_seconds() for server in servers) - before <= 0.01:
            return


def watched(servers, action):
    """What `action` gives, a dictionary, with its `time` in seconds and its `contention`: how much other programs than
    the servers and what it ran got of the two cores meanwhile."""
    def ours():
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return sum(server.busy_seconds() for server in servers) + children.ru_utime + children.ru_stime

    begin, busy, own = time.monotonic(), machine_busy_seconds(), ours()
    result = action()
    own = ours() - own
    result["time"] = time.monotonic() - begin
    result["contention"] = max(0, machine_busy_seconds() - busy - own) / result["time"] / 2
    return result


# Passes over a clock as fast as it can, and prints the milliseconds by which passes came a millisecond late or more.
SPINNER = """
import time
late, last, end = 0, time.perf_counter_ns(), time.perf_counter_ns() + 2 * 10**9
while last < end:
    now = time.perf_counter_ns()
    late += now - last if now - last >= 10**6 else 0
    last = now
print(late / 10**6)
"""


def standstill_ms_per_s(wrapper):
    """For how long a core gives nothing to a program that only spins on it, in gaps of a millisecond or more: what a
    host takes from a virtual machine, which no latency on that core can be better than. Takes two seconds."""
    told = subprocess.run([*wrapper, sys.executable, "-c", SPINNER], check=True, capture_output=True, text=True)
    return float(told.stdout) / 2


def clean(results):
    """The runs that count, and a note about them."""
    calm = [result for result in results if result["contention"] < CONTENTION_MAX]
    note = f"{len(calm)} clean of {len(results)}"
    return calm or [min(results, key=lambda result: result["contention"])], note


def median(results, *path):
    def value(result):
        for key in path:
            result = result[key]
        return result
    return statistics.median(value(result) for result in results)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def print_table(heads, rows):
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, ["-" * width for width in widths], *rows]:
        cells = (str(cell).ljust(width) for cell, width in zip(row, widths))
        print("| " + " | ".join(cells) + " |")


class Table:
    """The results, printed as they come and once more at the end."""
    heads = ("figure", "measured", "aim", "", "note")

    def __init__(self):
        self.rows = []
        self.missed = False

    def add(self, what, measured, aim="", good=None, note=""):
        """`good`: None where there is no aim."""
        self.keep((what, measured, aim), good, note)

    def keep(self, cells, good, note):
        self.missed = self.missed or good is False
        row = (*cells, "" if good is None else "ok" if good else "MISSED", note)
        self.rows.append(row)
        print("  ".join(str(cell) for cell in row if cell != ""), flush=True)

    def print(self):
        print_table(self.heads, self.rows)


class PairTable(Table):
    """The same of Belay beside Redis."""
    heads = ("figure", "Belay", "Redis", "aim", "", "note")

    def add(self, what, belay, redis="", aim="", good=None, note=""):
        """`good`: None where there is no aim."""
        self.keep((what, belay, redis, aim), good, note)


def print_origin(command, *other):
    """What made a table: the command line, our program, and another by the words that make it say its version."""
    def said(*words):
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    commit = subprocess.run(["git", "-C", str(TOP), "describe", "--always", "--dirty"], capture_output=True, text=True,
                            check=False).stdout.strip()
    programs = [f"{said(program('belayd'), '--version')} {commit}", *([said(*other)] if other else [])]
    print(f"$ {command}\n{'; '.join(programs)}")
