"""Restarts of a real node: clean and killed, with another number of shards, past deadlines, over damage."""

import json
import random
import time

from cases import run_cases
from daemon import Daemon, check, wait_for
from redis_kit import Client, port_of

SESSIONS = 20000


def fill(daemon, *words):
    daemon.run("belay-bench", "fill", "--sessions", SESSIONS, "--value-bytes", 300, *words)


def check_all(daemon, *words, expect=0):
    return json.loads(daemon.run("belay-bench", "check", "--sessions", SESSIONS, "--value-bytes", 300,
                                 *words, "--json", expect=expect))


def set_shards(daemon, shards):
    daemon.settings = [f"node.shards={shards}" if setting.startswith("node.shards=") else setting
                       for setting in daemon.settings]


def test_other_numbers_of_shards():
    with Daemon(shards=1) as daemon:
        daemon.start()
        fill(daemon, "--ack", "disk")
        for shards in (3, 2, 4, 1):
            daemon.kill()
            set_shards(daemon, shards)
            daemon.start()
            check_all(daemon)
            check(daemon.stop() == 0, "stops cleanly")
            daemon.start()
            check_all(daemon)


def test_what_expired_meanwhile_stays_gone():
    with Daemon() as daemon:
        daemon.start()
        fill(daemon, "--ttl", 600)
        fill(daemon, "--ttl", 1, "--prefix", "short:", "--ack", "disk")
        filled = time.monotonic()
        daemon.kill()
        wait_for("the deadline passes", lambda: time.monotonic() > filled + 1.2)
        daemon.start()
        check_all(daemon)
        gone = check_all(daemon, "--prefix", "short:", expect=1)
        check(gone["lost"] == SESSIONS and gone["wrong"] == 0, gone)


def test_clients_after_a_clean_stop_are_new():
    """Else the first write of a new client would pass for the repetition of an old one's."""
    with Daemon() as daemon:
        for value in ("one", "two", "three"):
            daemon.start()
            daemon.run("belayctl", "session", "put", "key", value)
            got = daemon.run("belayctl", "session", "get", "key")
            check(value in got, (value, got))
            check(daemon.stop() == 0, "stops cleanly")


def loading(daemon):
    return daemon.document("status")["loading"]


def test_serves_while_it_loads():
    """From the ready line on everything is there, read and written, however often it is killed meanwhile."""
    sessions = 20 * SESSIONS
    whole = ("--sessions", sessions, "--value-bytes", 300)
    with Daemon(shards=2) as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", *whole, "--ack", "disk")
        seen = told = 0
        for round_number in range(4):
            daemon.kill()
            daemon.start()
            with Client(port_of(daemon)) as client:
                told += b"\r\nloading:0\r\nasync_loading:1\r\n" in client.ask("INFO")
            seen += loading(daemon)
            daemon.run("belayctl", "session", "put", f"new:{round_number}", "value", "--ack", "disk")
            for other in range(round_number):
                check("value" in daemon.run("belayctl", "session", "get", f"new:{other}"), other)
            daemon.run("belayctl", "session", "get", "absent", expect=1)
        check(seen > 0, "no round saw the node load; make it larger")
        check(told > 0, "INFO tells it, too, and that it serves")
        check(daemon.http("/readyz")[0] == 200, "ready while it loads")
        daemon.run("belay-bench", "check", *whole)
        wait_for("all is loaded", lambda: not loading(daemon))
        with Client(port_of(daemon)) as client:
            check(b"\r\nloading:0\r\nasync_loading:0\r\n" in client.ask("INFO", "persistence"), "INFO")
        count = daemon.document("status")["sessions"]
        check(count == sessions + 4, count)
        check(daemon.stop() == 0, "stops cleanly")
        daemon.start()
        check(daemon.stop() == 0, "stops cleanly while it loads")
        daemon.start()
        daemon.run("belay-bench", "check", *whole)


def flip_bytes(path, places):
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0x55]))


def test_flipped_bytes_are_named_and_cost_only_their_sessions():
    chance = random.Random(7)
    with Daemon(shards=1) as daemon:
        daemon.start()
        fill(daemon, "--ack", "disk")
        daemon.kill()
        segment = sorted(daemon.data.glob("**/log-*.seg"))[0]
        # The fill takes some 7 MiB of the first segment; all places lie well inside.
        flip_bytes(segment, [chance.randrange(1 << 20, 4 << 20) for _ in range(5)])
        daemon.start()
        left = check_all(daemon, expect=1)
        check(0 < left["lost"] <= 20 and left["wrong"] == 0 and left["unread"] == 0, left)
        wait_for("all is loaded", lambda: not loading(daemon))
        check("damage" in daemon.log(), daemon.log())
        check(segment.name in daemon.log(), "the log names the file")
        daemon.run("belayctl", "session", "put", "after", "damage")
        daemon.kill()
        daemon.start()
        again = check_all(daemon, expect=1)
        check(again["present"] == left["present"], (left, again))


def test_a_log_that_ends_too_early_is_told():
    """The last segment that was used is removed, or cut: what is missing is said, once, and the rest is there."""
    for how in ("removed", "cut"):
        with Daemon(shards=1) as daemon:
            daemon.start()
            fill(daemon, "--ack", "disk")
            daemon.kill()
            used = max((path for path in daemon.data.glob("**/log-*.seg")),
                       key=lambda path: path.read_bytes()[4096:].find(b"bench:") >= 0)
            size = used.stat().st_size
            if how == "removed":
                used.unlink()
            else:
                with open(used, "r+b") as file:
                    file.truncate(1 << 20)
                    file.truncate(size)
            daemon.start()
            lines = [line for line in daemon.log().splitlines() if " log-missing " in line]
            check(len(lines) == 1 and "end_lsn=" in lines[0], daemon.log())
            found = check_all(daemon, expect=1)
            check(found["wrong"] == 0 and (found["present"] > 100) == (how == "cut"), found)
            fill(daemon, "--ack", "disk")
            daemon.kill()
            daemon.start()
            check_all(daemon)
            check(daemon.log().count(" log-missing ") == 1, daemon.log())
            daemon.kill()
            next(daemon.data.glob("**/staging")).unlink()
            daemon.start()
            check(daemon.log().count(" log-missing ") == 2 and "file=staging" in daemon.log(), daemon.log())
            check_all(daemon)


if __name__ == "__main__":
    run_cases(__name__)
