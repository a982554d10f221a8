"""SIGTERM under load: the stop is clean, quick, and loses nothing of what was acknowledged, at whatever
level; the next start goes on as the same life of the node."""

import os
import re
import tempfile
import time

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from test_kill import Load, audit, written

ROUNDS = 4


def stop_round(daemon, scratch, number):
    record = os.path.join(scratch, f"{number}.record")
    load = Load(daemon, record, "--prefix", f"s{number}:", "--keys", 2000, "--reads", 30,
                "--deletes", 10, "--connections", 8, "--pipeline", 4, "--ack", "memory",
                "--value-bytes", 512, "--seed", number + 1)
    try:
        wait_for("load began", lambda: written(record), 20)
        before = time.monotonic()
        check(daemon.stop() == 0, daemon.log())
        took = time.monotonic() - before
    finally:
        said = load.kill()
    check(": found " not in said, f"a read during the run was wrong:\n{said}")
    check(took < 10 * SLOWNESS, f"the stop took {took} s")
    daemon.start()
    acked = audit(daemon, record)
    print(f"round {number}: {acked} acknowledged writes, stopped in {took:.3f} s", flush=True)
    os.unlink(record)


def test_stop_under_load():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        daemon.start()
        for number in range(ROUNDS):
            stop_round(daemon, scratch, number)
        check(daemon.stop() == 0, daemon.log())
        starts = re.findall(r" data-directory .* actor_start=(\d+) .* last_stop=(\w+)", daemon.log())
        check(starts == [("1", "new")] + [("1", "clean")] * ROUNDS, starts)


if __name__ == "__main__":
    run_cases(__name__)
