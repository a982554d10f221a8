"""Data larger than memory: a real node with a small memory.limit and many times as many bytes of sessions."""

import json
import threading
import time

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, wait_for

MIB = 1 << 20
LIMIT_MIB = 64
VALUE_BYTES = 4096
SESSIONS = 100_000 if SLOWNESS == 1 else 30_000
# What the process needs beside the sessions: for each of two shards staging, the compaction's tables, pages of
# the checkpoint's map.
ALLOWANCE_MIB = 192 if SLOWNESS == 1 else 1024
WHOLE = ("--sessions", SESSIONS, "--value-bytes", VALUE_BYTES)


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
    return json.loads(daemon.run("belayctl", "status", "--json"))


def check_all(daemon):
    found = json.loads(daemon.run("belay-bench", "check", *WHOLE, "--json", timeout_s=300))
    check(found["present"] == SESSIONS and found["wrong"] == 0, found)


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


def test_a_deadline_needs_no_fields():
    """Cold sessions expire, and are missed, without a fetch."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        daemon.start()
        some = ("--sessions", 20_000, "--value-bytes", VALUE_BYTES, "--ttl", 30 * SLOWNESS)
        daemon.run("belay-bench", "fill", *some, timeout_s=300)
        filled = time.monotonic()
        before = status(daemon)
        check(before["cold"]["sessions"] > 5000, before)
        wait_for("the deadlines pass", lambda: time.monotonic() > filled + 31 * SLOWNESS, 60)
        daemon.run("belay-bench", "check", *some[:4], expect=1)
        after = status(daemon)
        check(after["cold"]["moved_in"] == before["cold"]["moved_in"], (before, after))
        wait_for("they are buried", lambda: status(daemon)["sessions"] == 0, 120)
        check(status(daemon)["cold"]["sessions"] == 0, status(daemon))


if __name__ == "__main__":
    run_cases(__name__)
