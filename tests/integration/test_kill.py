"""kill -9 at random points under load: what was acknowledged, at `memory` as at `disk`, is there after the
restart, and what was deleted stays deleted. Nothing is left out of the audit: an acknowledgement in the record
is one that the server gave before, and so the delay of its note only makes for fewer of them."""

import json
import os
import random
import tempfile
import time
from pathlib import Path

from cases import long, run_cases
from daemon import Daemon, check, wait_for
from load import Load, audit, written

ROUNDS = int(os.environ.get("BELAY_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("BELAY_SEED", time.time_ns()))


def kill_round(daemon, scratch, number, chance, ack):
    record = os.path.join(scratch, f"{number}.record")
    load = Load(daemon, record, "--prefix", f"r{number}:", "--keys", 2000, "--reads", 30,
                "--deletes", 10, "--connections", 8, "--pipeline", 4, "--ack", ack,
                "--value-bytes", chance.choice([64, 512, 3000]), "--seed", number + 1)
    try:
        wait_for("load began", lambda: written(record), 20)
        time.sleep(chance.uniform(0.0, 0.6))  # When the kill comes is what is random here.
        daemon.kill()
    finally:
        said = load.kill()
    check(": found " not in said, f"a read during the run was wrong:\n{said}")
    daemon.start()
    acked = audit(daemon, record)
    print(f"round {number}: {ack}, {acked} acknowledged writes", flush=True)
    os.unlink(record)
    return acked


def test_rounds():
    print(f"BELAY_SEED={SEED}")
    chance = random.Random(SEED)
    acked = 0
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        daemon.start()
        for number in range(ROUNDS):
            acked += kill_round(daemon, scratch, number, chance, ["disk", "memory"][number % 2])
    check(acked > ROUNDS * 100, f"only {acked} writes were acknowledged")


@long
def test_no_write_came_to_the_disk():
    """Acknowledged at `memory`, and the log not written once before the kill: as on a disk that takes ten
    seconds. What was taken up is there at the next kill as well, and with another number of shards."""
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, \
            Daemon(settings=["storage.log_interval=10s"]) as daemon:
        for number in range(3):
            daemon.settings = [f"node.shards={2 + number}" if setting.startswith("node.shards=")
                               else setting for setting in daemon.settings]
            daemon.start()
            daemon.run("belay-bench", "fill", "--sessions", 500, "--prefix", f"f{number}:")
            status = daemon.document("status")
            check(status["log"]["device_writes"] == 0, status["log"])
            daemon.kill()
            daemon.start()
            for earlier in range(number + 1):
                daemon.run("belay-bench", "check", "--sessions", 500, "--prefix", f"f{earlier}:")
            kill_round(daemon, scratch, number, chance, "memory")
            check("staging-taken" in daemon.log(), daemon.log())
            daemon.kill()


def staging_rss_kib(daemon):
    """What is resident of the mapped ends of its logs."""
    ours = False
    total = 0
    for line in Path(f"/proc/{daemon.pid}/smaps").read_text().splitlines():
        head = line.split()[0]
        if not head.endswith(":"):
            ours = line.endswith("/staging")
        elif head == "Rss:" and ours:
            total += int(line.split()[1])
    return total


def test_after_a_rest():
    """After load what was mapped of the log's end goes back, but for what a few writes take; nothing is lost by that, nor what
    is staged next and comes to no device before the kill."""
    with Daemon(settings=["storage.log_interval=10s"], shards=1) as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", 40, "--prefix", "big:", "--value-bytes", 1000000)
        wait_for("the pages go back", lambda: 0 < staging_rss_kib(daemon) <= 768)
        daemon.run("belay-bench", "fill", "--sessions", 500, "--prefix", "small:", "--value-bytes", 100)
        daemon.kill()
        daemon.start()
        check("staging-taken" in daemon.log(), daemon.log())
        daemon.run("belay-bench", "check", "--sessions", 40, "--prefix", "big:", "--value-bytes", 1000000)
        daemon.run("belay-bench", "check", "--sessions", 500, "--prefix", "small:", "--value-bytes", 100)


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
