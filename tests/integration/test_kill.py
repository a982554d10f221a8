"""kill -9 at random points under load: what was acknowledged at `disk` is there after the restart, and at
`memory` all that is older than storage.log_interval (and than the device write under way, on a disk that takes
longer); what was deleted stays deleted."""

import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, program, wait_for

ROUNDS = int(os.environ.get("BELAY_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("BELAY_SEED", time.time_ns()))
LOG_INTERVAL_MS = 10
# From the server's acknowledgement to its note in the record; both sides share the cores.
NOTE_MS = 60


class Load:
    """belay-bench run --record in the background."""

    def __init__(self, daemon, record, *arguments):
        self.process = subprocess.Popen(
            [program("belay-bench"), "run", "--server", daemon.native, "--record", record,
             "--seconds", "600", "--timeout-ms", "1000", "--json", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill(self):
        """End it as well. Returns what it said on stderr."""
        self.process.kill()
        self.process.wait()
        with self.process.stderr:
            return self.process.stderr.read().decode()


def written(record):
    """Does the record hold a hundred entries yet?"""
    path = Path(record)
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(256 + 32 * 100)
        return any(file.read(32))


def audit(daemon, record, ignore_ms):
    """Returns how many acknowledged writes were held against what is there."""
    printed = daemon.run("belay-bench", "audit", record, "--json", "--ignore-last-ms", ignore_ms,
                         expect=None)
    audited = json.loads(printed)
    for level, row in {**audited["levels"], "all": audited["all"]}.items():
        faults = {name: count for name, count in row.items() if name != "acked" and count}
        check(not faults, f"audit at {level}: {faults}\n{printed}")
    check(not audited["errors"], printed)
    return audited["all"]["acked"]


def slowest_write_ms(daemon):
    """How long the disk took at most for one write of the log: other tests use it too."""
    return json.loads(daemon.run("belayctl", "status", "--json"))["log"]["write_us"]["max"] / 1000


def kill_round(daemon, scratch, number, chance):
    ack = "disk" if number % 2 == 0 else "memory"
    record = os.path.join(scratch, f"{number}.record")
    load = Load(daemon, record, "--prefix", f"r{number}:", "--keys", 2000, "--reads", 30,
                "--deletes", 10, "--connections", 8, "--pipeline", 4, "--ack", ack,
                "--value-bytes", chance.choice([64, 512, 3000]), "--seed", number + 1)
    try:
        wait_for("load began", lambda: written(record), 20)
        time.sleep(chance.uniform(0.0, 0.6))  # When the kill comes is what is random here.
        slowest_ms = slowest_write_ms(daemon) if ack == "memory" else 0
        daemon.kill()
    finally:
        said = load.kill()
    check(" is " not in said, f"a read during the run was wrong:\n{said}")
    daemon.start()
    ignore_ms = 0
    if ack == "memory":
        ignore_ms = int(LOG_INTERVAL_MS + NOTE_MS * SLOWNESS + 2 * slowest_ms)
    acked = audit(daemon, record, ignore_ms)
    print(f"round {number}: {ack}, {acked} acknowledged writes, but for {ignore_ms} ms", flush=True)
    os.unlink(record)
    return acked


def test_rounds():
    print(f"BELAY_SEED={SEED}")
    chance = random.Random(SEED)
    acked = 0
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, \
            Daemon(settings=[f"storage.log_interval={LOG_INTERVAL_MS}ms"]) as daemon:
        daemon.start()
        for number in range(ROUNDS):
            acked += kill_round(daemon, scratch, number, chance)
    check(acked > ROUNDS * 100, f"only {acked} writes were acknowledged")


def test_audit_sees_what_is_lost():
    """The audit itself: without this, a round that finds nothing would say nothing."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = os.path.join(scratch, "record")
        daemon.start()
        daemon.run("belay-bench", "run", "--record", record, "--count", 2000, "--keys", 50,
                   "--reads", 0, "--prefix", "a:", "--value-bytes", 64)
        daemon.run("belay-bench", "audit", record)
        daemon.kill()
        os.rename(daemon.data, daemon.directory / "lost")
        daemon.start()
        audited = json.loads(daemon.run("belay-bench", "audit", record, "--json", expect=1))
        check(audited["all"]["lost"] == 50, audited)


if __name__ == "__main__":
    run_cases(__name__)
