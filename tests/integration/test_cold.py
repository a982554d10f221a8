"""Data larger than memory: a real node with a small memory.limit and many times as many bytes of sessions."""

import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time

import native
from cases import long, run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from load import Load, audit, written
from redis_kit import Client, port_of

MIB = 1 << 20
LIMIT_MIB = 64
VALUE_BYTES = 4096
SESSIONS = 60_000 if SLOWNESS == 1 else 30_000
# What the process needs beside the sessions: for each of two shards staging, the compaction's tables, pages of
# the checkpoint's map.
ALLOWANCE_MIB = 192 if SLOWNESS == 1 else 1024
PATIENT = ("--timeout-ms", 60_000)  # The disk may be slow.
WHOLE = ("--sessions", SESSIONS, "--value-bytes", VALUE_BYTES, *PATIENT)


class Watch:
    """The most resident memory that a node had."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.peak_bytes = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.05):
            try:
                self.peak_bytes = max(self.peak_bytes, self.daemon.rss_bytes())
            except (OSError, AttributeError, IndexError):
                pass  # Between two starts.

    def end(self):
        self.over.set()
        self.thread.join()
        return self.peak_bytes / MIB


def status(daemon):
    return daemon.document("status")


def check_all(daemon):
    found = json.loads(daemon.run("belay-bench", "check", *WHOLE, "--json", timeout_s=300))
    check(found["present"] == SESSIONS and found["wrong"] == 0, found)


@long
def test_more_sessions_than_memory():
    with Daemon(shards=2, settings=(f"memory.limit={LIMIT_MIB}MiB",)) as daemon:
        daemon.start()
        watch = Watch(daemon)
        filled = json.loads(daemon.run("belay-bench", "fill", *WHOLE, "--ack", "disk", "--json",
                                       timeout_s=300))
        check(not filled.get("errors"), filled)
        now = status(daemon)
        check(now["sessions"] == SESSIONS and now["cold"]["sessions"] > SESSIONS / 2, now)
        check(now["session_memory_bytes"] < LIMIT_MIB * MIB * 17 / 16, now)
        check_all(daemon)
        check(status(daemon)["cold"]["moved_in"] > SESSIONS / 2, status(daemon))
        for round_number in range(2):
            daemon.kill()
            daemon.start()
            check_all(daemon)
            wait_for("all is loaded", lambda: not status(daemon)["loading"])
            check(status(daemon)["sessions"] == SESSIONS + round_number, status(daemon))
            daemon.run("belayctl", "session", "put", f"new:{round_number}", "value", "--ack", "disk")
        peak = watch.end()
        print(f"{SESSIONS * VALUE_BYTES // MIB} MiB of values, at most {peak:.0f} MiB resident")
        check(peak < LIMIT_MIB + ALLOWANCE_MIB, f"{peak:.0f} MiB resident")
        check("damage" not in daemon.log(), daemon.log())
        check(daemon.stop() == 0, "stops cleanly")
        daemon.start()
        check_all(daemon)


def cold_ones_expire(ttl_s):
    """False where the machine was too slow to look at them before their deadlines."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        daemon.start()
        some = ("--sessions", 20_000, "--value-bytes", VALUE_BYTES, "--ttl", ttl_s)
        began = time.monotonic()
        daemon.run("belay-bench", "fill", *some, *PATIENT, timeout_s=300)
        filled = time.monotonic()
        before = status(daemon)
        if time.monotonic() > began + ttl_s:
            return False
        check(before["cold"]["sessions"] > 5000, before)
        wait_for("the deadlines pass", lambda: time.monotonic() > filled + ttl_s + 1, ttl_s + 60)
        daemon.run("belay-bench", "check", *some[:4], expect=1)
        after = status(daemon)
        check(after["cold"]["moved_in"] == before["cold"]["moved_in"], (before, after))
        wait_for("they are buried", lambda: status(daemon)["sessions"] == 0, 120)
        check(status(daemon)["cold"]["sessions"] == 0, status(daemon))
        return True


@long
def test_a_deadline_needs_no_fields():
    """Cold sessions expire, and are missed, without a fetch."""
    ttl_s = 4
    while not cold_ones_expire(ttl_s):
        ttl_s *= 2


def fill_until_cold(daemon, sessions=20_000):
    """Fill more than memory has room for, and wait until the store's threads rest."""
    daemon.run("belay-bench", "fill", "--sessions", sessions, "--value-bytes", VALUE_BYTES, "--ack", "disk", *PATIENT,
               timeout_s=300)
    wait_for("most are cold", lambda: status(daemon)["cold"]["sessions"] > sessions / 4, 60)
    last = None

    def rests():
        nonlocal last
        time.sleep(0.5)
        now, before = status(daemon), last
        last = (now["checkpoint"]["count"], now["cold"]["sessions"])
        return last == before
    wait_for("nothing moves", rests, 60)


def checkpoint_file(daemon):
    """There are two while a fresh one is built."""
    def found():
        paths = list(daemon.data.glob("**/checkpoint-*"))
        return len(paths) == 1 and paths[0].is_dir() and paths[0].suffix != ".tmp" and paths[0] / "data.mdb"
    return wait_for("one checkpoint", found)


def test_a_checkpoint_that_is_cut():
    """The node cannot go on, but it says what was done to it, and the log is as it was."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        daemon.start()
        fill_until_cold(daemon)
        path = checkpoint_file(daemon)
        of = ("--value-bytes", VALUE_BYTES)
        daemon.run("belay-bench", "check", "--sessions", 20_000, *of, *PATIENT, timeout_s=300)  # The file is open, and mapped.
        os.truncate(path, 2 * 4096)
        daemon.run("belay-bench", "check", "--sessions", 500, *of, "--timeout-ms", 300, expect=None)
        code = daemon.wait()
        check(code == -signal.SIGBUS, f"exit {code}")
        check(f"a part of a mapped file cannot be read: {path}" in daemon.log(), daemon.log()[-2000:])


def test_a_damaged_value():
    """Its session is damaged, and named; all others are well."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        daemon.start()
        marked = random.Random(7).randbytes(VALUE_BYTES)
        with native.Connection(daemon.native) as connection:
            connection.put(b"victim", marked)
        fill_until_cold(daemon)
        content = checkpoint_file(daemon).read_bytes()
        at = content.find(marked)
        check(at >= 0, "the value is in the checkpoint")
        with open(checkpoint_file(daemon), "r+b") as file:
            while at >= 0:
                file.seek(at + 100)
                file.write(b"damage")
                at = content.find(marked, at + 1)
        said = daemon.run("belayctl", "session", "get", "victim", expect=1)
        check("value" not in said, said)
        wait_for("it is named", lambda: "victim" in daemon.log())
        found = json.loads(daemon.run("belay-bench", "check", "--sessions", 20_000, "--value-bytes",
                                      VALUE_BYTES, "--json", timeout_s=300))
        check(found["present"] == 20_000 and found["wrong"] == 0, found)
        daemon.run("belayctl", "session", "del", "victim")
        daemon.run("belayctl", "session", "put", "victim", "new")
        check("new" in daemon.run("belayctl", "session", "get", "victim"), "a new life")


def test_requests_on_several_cold_sessions():
    """RENAME and EXEC need sessions that have all left memory, and are answered as if they had not."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        daemon.start()
        pairs = [(f"old{i}", f"new{i}") for i in range(8)]
        with Client(port_of(daemon)) as client:
            for name in itertools.chain(*pairs, ("one", "other")):
                client.ask("SET", "{all}" + name, name * 500)
            fill_until_cold(daemon)
            for old, new in pairs:
                check(client.ask("RENAME", "{all}" + old, "{all}" + new) == b"OK", old)
                check(client.ask("GET", "{all}" + new) == (old * 500).encode(), f"{old} is {new}")
                check(client.ask("EXISTS", "{all}" + old) == 0, "and only that")
            client.ask("MULTI")
            client.ask("GET", "{all}one")
            client.ask("GET", "{all}other")
            check(client.ask("EXEC") == [b"one" * 500, b"other" * 500], "both")
        check(status(daemon)["cold"]["requests"] >= 18, status(daemon)["cold"])


def test_a_slow_reader_of_cold_sessions():
    """Who asks for many large sessions at once and is slow to read them gets all of them, as they leave: no more are
    brought from the disk meanwhile."""
    count, size = 240, 256 * 1024
    settings = ("memory.limit=16MiB", "limits.output_buffer=1MiB", "limits.queue_delay=60s")
    with Daemon(shards=2, settings=settings) as daemon:
        daemon.start()
        values = {f"key:{i}": random.Random(i).randbytes(size) for i in range(count)}
        with Client(port_of(daemon)) as client:
            for key, value in values.items():
                wait_for(f"room for {key}", lambda: client.ask("SET", key, value) == b"OK", 60)
        wait_for("most are cold", lambda: status(daemon)["cold"]["sessions"] > count / 2, 60)
        with Client(port_of(daemon), timeout_s=60) as client:
            for key in values:
                client.send("GET", key)
            last = None

            def rests():
                nonlocal last
                time.sleep(0.2)
                before, last = last, status(daemon)["cold"]["moved_in"]
                return last == before
            wait_for("no more come", rests, 60)
            for key, value in values.items():
                check(client.read() == value, key)


@long
def test_kill_while_sessions_come_and_go():
    """kill -9 while the fields of sessions leave memory and come back: nothing acknowledged is lost."""
    rounds = int(os.environ.get("BELAY_COLD_ROUNDS", "3"))
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, \
            Daemon(shards=2, settings=("memory.limit=64MiB",)) as daemon:
        daemon.start()
        for number in range(rounds):
            record = os.path.join(scratch, f"{number}.record")
            load = Load(daemon, record, "--prefix", f"c{number}:", "--keys", 30_000, "--reads", 40,
                        "--deletes", 5, "--connections", 8, "--pipeline", 4, "--value-bytes", VALUE_BYTES,
                        "--ack", ["disk", "memory"][number % 2], "--seed", number + 1)
            try:
                wait_for("load began", lambda path=record: written(path), 20)
                before = status(daemon)["cold"]
                wait_for("sessions come back",
                         lambda cold=before: status(daemon)["cold"]["moved_in"] > cold["moved_in"] + 100, 120)
                time.sleep(chance.uniform(0.0, 1.0))  # When the kill comes is what is random here.
                daemon.kill()
            finally:
                said = load.kill()
            check(": found " not in said, f"a read during the run was wrong:\n{said}")
            daemon.start()
            print(f"round {number}: {audit(daemon, record)} acknowledged writes", flush=True)
        check("damage" not in daemon.log(), daemon.log())


if __name__ == "__main__":
    run_cases(__name__)
