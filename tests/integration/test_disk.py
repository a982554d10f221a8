"""The disk limit: writes are refused with an error that says so, reads go on, and writes resume by themselves
once a checkpoint has made room. Nothing that was acknowledged is lost, also not by a kill right then."""

import json
import subprocess

import native
from cases import run_cases
from daemon import Daemon, check, wait_for

KEYS = 20000
DISK_FULL = 34


def overwrite(daemon, keys=KEYS):
    """Half a second of writes; how many were done, and the errors."""
    result = json.loads(daemon.run("belay-bench", "run", "--reads", 0, "--keys", keys,
                                   "--value-bytes", 1000, "--connections", 4, "--pipeline", 8,
                                   "--seconds", 0.5, "--json", expect=None))
    return result["operations"], result["errors"]


def refused(daemon):
    """Write until the disk is full; true once it is."""
    _, errors = overwrite(daemon)
    check(set(errors) <= {"DISK_FULL"}, errors)
    return "DISK_FULL" in errors


def write_status(connection, key):
    head, _ = connection.call(native.WRITE, {1: key, 3: 1}, b"\x01\x00" + native.string(b"value"))
    return head.get(1, 0), head.get(2, b"").decode()


def test_full_and_room_again():
    with Daemon(settings=["storage.disk_limit=96MiB"], shards=1) as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:")
        wait_for("the disk is full", lambda: refused(daemon), 120)
        with native.Connection(daemon.native) as connection:
            status, text = write_status(connection, b"one more")
            # Room may have come already: then the write is good.
            check(status in (native.OK, DISK_FULL), (status, text))
            check(status == native.OK or text, "a refusal without a word")
            found = connection.get(b"kept:" + b"0" * 22 + b"7")
            check(found is not None and len(found) == 1000, "reads go on")
        daemon.run("belay-bench", "check", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:")

        def resumed():
            done, errors = overwrite(daemon, 100)
            return done > 0 and not errors

        wait_for("writes resume", resumed, 120)
        check("log-full" in daemon.log() and "log-resumed" in daemon.log(), daemon.log())


def test_kill_while_full():
    with Daemon(settings=["storage.disk_limit=96MiB"], shards=1) as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:", "--ack", "disk")
        wait_for("the disk is full", lambda: refused(daemon), 120)
        daemon.kill()
        daemon.start()
        daemon.run("belay-bench", "check", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:")
        wait_for("writes are taken", lambda: overwrite(daemon, 100)[0] > 0, 120)


def test_smallest_limit():
    """The least that is allowed, and live data that fill it: writes go on and on, with pauses."""
    with Daemon(settings=["storage.disk_limit=96MiB"], shards=2) as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:")
        for _ in range(3):
            wait_for("the disk is full", lambda: refused(daemon), 120)
            wait_for("writes resume", lambda: overwrite(daemon, 100)[0] > 0, 120)
        daemon.run("belay-bench", "check", "--sessions", KEYS, "--value-bytes", 1000, "--prefix",
                   "kept:")


def test_limit_too_small():
    """A limit below what the shards need is refused at once, and how much they need is said."""
    for arguments in ([], ["--check-config"]):
        with Daemon(settings=["storage.disk_limit=48MiB"], shards=2) as daemon:
            done = subprocess.run([*daemon.command(), *arguments], capture_output=True, text=True,
                                  timeout=60, check=False)
            check(done.returncode == 2 and "need at least 96MiB" in done.stderr, done)
            check(not daemon.data.exists(), "nothing is made")


if __name__ == "__main__":
    run_cases(__name__)
