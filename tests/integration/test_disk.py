"""The disk limit: writes are refused with an error that says so, reads go on, and writes resume by themselves
once a checkpoint has made room. Nothing that was acknowledged is lost, also not by a kill right then."""

import contextlib
import json
import resource
import subprocess
import tempfile
from pathlib import Path

import native
from cases import long, run_cases
from daemon import Daemon, check, program, wait_for

KEYS = 20000
DISK_FULL = 34
LOG_FAILED = 35


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


@long
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


@long
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


def put_on_shard(connection, size, count):
    """Writes at `disk` to keys of their own. Returns the keys that were acknowledged, and what was said of
    the others."""
    good, refusals = [], set()
    for i in range(count):
        key = b"session-%d" % i
        head, _ = connection.call(native.WRITE, {1: key, 3: 1, 5: 3},
                                  b"\x01\x00" + native.string(b"x" * size))
        if head.get(1, 0) == native.OK:
            good.append(key)
        else:
            refusals.add((head[1], head.get(2, b"").decode()))
    return good, refusals


def test_failed_device_write():
    """A device write that fails is never retried: the shard stops acknowledging, everything says why, reads go
    on. A limit of file sizes stands for the device: the kernel refuses what lies past it."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        with native.Connection(daemon.native) as connection:
            good, refusals = put_on_shard(connection, 100000, 20)
            check(5 <= len(good) <= 10 and len(refusals) == 1, (len(good), refusals))
            status, text = refusals.pop()
            check(status == LOG_FAILED and text.startswith("writing the log failed: "), (status, text))
            # The device is well again: what it holds of the failed write is not known, so nothing is taken.
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE,
                             (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            check(write_status(connection, b"one more") == (LOG_FAILED, text), "it takes writes again")
            for key in good:
                check(connection.get(key) == b"x" * 100000, f"reads go on: {key}")
        reason = f"shard 0 takes no more writes: {text}"
        check(daemon.http("/readyz")[:2] == (503, reason + "\n"), daemon.http("/readyz"))
        check(daemon.http("/healthz")[0] == 200, "it lives, and reads are answered")
        check('belay_log_failed{shard="0"} 1' in daemon.http("/metrics")[1], daemon.http("/metrics")[1])
        check(f"not ready, {reason}\n" in daemon.run("belayctl", "status"), "status names the cause")
        status = json.loads(daemon.run("belayctl", "--json", "status"))
        check(not status["ready"] and status["reason"] == reason and status["log"]["failed"], status)
        check(f'log-failed shard=0 cause="{text}"' in daemon.log(), daemon.log())
        daemon.stop()
        daemon.start()
        with native.Connection(daemon.native) as connection:
            for key in good:
                check(connection.get(key) == b"x" * 100000, f"acknowledged, and lost: {key}")
            check(write_status(connection, b"one more")[0] == native.OK, "a restart takes writes")


def test_a_map_that_cannot_be_stored():
    """Where the disk refuses a change of the cluster's map of a node alone, who asks for another one is told that at once, and why; sessions
    are served, and a restart takes changes."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        change = ["belayctl", "policy", "set", "web:", "idle_ttl=5m"]

        def ask(*options):
            return subprocess.run([program("belayctl"), "-s", daemon.native, *options, *change[1:]], capture_output=True, text=True,
                                  timeout=120, check=False)
        ask("--timeout", "100ms")
        wait_for("it has failed", lambda: "cluster-store-failed" in daemon.log())
        done = ask("--timeout", "60s")
        check(done.returncode == 1 and "File too large. Mend the disk" in done.stderr, done)
        daemon.run("belayctl", "session", "get", "none", expect=1)
        check(daemon.stop() == 0, daemon.log())
        daemon.start()
        daemon.run(*change)


@contextlib.contextmanager
def small_disk(size):
    """A file system in memory that is full soon; None where none may be mounted."""
    place = Path(tempfile.mkdtemp(prefix="belay-test-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
                          capture_output=True, check=False)
    try:
        yield place if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()


def fill_up(path, chunk=65536):
    """To the last byte. Done in the end by single pages."""
    with open(path, "ab", buffering=0) as file:
        while chunk:
            try:
                file.write(b"x" * chunk)
            except OSError:
                chunk = chunk // 16 if chunk > 4096 else 0


def test_a_disk_that_is_really_full():
    """What is refused says what to do, a failed compaction is told once with its true cause, a start reads, and
    with room everything goes on."""
    with small_disk("160m") as place:
        if place is None:
            print("not shown: no file system may be mounted here", flush=True)
            return
        with Daemon(settings=[f"storage.dir={place}/data"], shards=1) as daemon:
            (place / "ballast").write_bytes(bytes(32 << 20))
            daemon.start()
            with native.Connection(daemon.native) as connection:
                for i in range(1 << 20):
                    head, _ = connection.call(native.WRITE, {1: b"kept:%d" % i, 3: 1},
                                              b"\x01\x00" + native.string(b"x" * 20000))
                    if head.get(1, native.OK) == DISK_FULL:
                        break
                check(i > 1000, f"full after {i}")
            for command in ("put", "del"):
                done = subprocess.run([program("belayctl"), "-s", daemon.native, "session", command,
                                       "kept:1", *(["value"] if command == "put" else [])],
                                      capture_output=True, text=True, timeout=60, check=False)
                check(done.returncode == 1 and "free some, or raise storage.disk_limit" in done.stderr, done)
            fill_up(place / "rest")
            for _ in range(3):
                daemon.kill()
                daemon.start()
                check(len(daemon.run("belayctl", "session", "get", "kept:7", "--raw")) == 20000, "reads are answered")
                status, reason = daemon.http("/readyz")[:2]
                check(status == 200 or "free some" in reason, (status, reason))
            failed = [line for line in daemon.log().splitlines() if " store-failed " in line]
            check("Input/output" not in daemon.log(), daemon.log())
            check(len(failed) <= 8 and all("file=" in line for line in failed), daemon.log())
            (place / "ballast").unlink()
            wait_for("writes are taken", lambda: daemon.run("belayctl", "session", "del", "kept:1", expect=None), 60)
            daemon.run("belayctl", "session", "get", "kept:1", expect=1)
            check(daemon.stop() == 0, daemon.log())


if __name__ == "__main__":
    run_cases(__name__)
