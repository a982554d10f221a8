"""Files of a data directory that were cut, removed or exchanged: what is lost is named, with its file, what is
left is served, and a start that could not know what is lost is refused with what to do."""

import json
import os

from cases import run_cases
from daemon import Daemon, check, wait_for

SESSIONS = 60000 # Some 21 MiB of log: one segment is sealed.


def fill(daemon):
    daemon.run("belay-bench", "fill", "--sessions", SESSIONS, "--value-bytes", 300, "--ack", "disk")


def check_all(daemon, expect=0):
    return json.loads(daemon.run("belay-bench", "check", "--sessions", SESSIONS, "--value-bytes", 300,
                                 "--json", expect=expect))


def loaded(daemon):
    return not daemon.document("status")["loading"]


def lines(daemon, event):
    return [line for line in daemon.log().splitlines() if f" {event} " in line]


def test_a_sealed_segment_that_was_cut():
    with Daemon(shards=1) as daemon:
        daemon.start()
        fill(daemon)
        wait_for("the first segment is sealed", lambda: list(daemon.data.glob("**/log-*.idx")))
        daemon.kill()
        index = next(daemon.data.glob("**/log-*.idx"))
        segment = index.with_suffix(".seg")
        with open(segment, "r+b") as file:
            file.truncate(segment.stat().st_size // 2)
        daemon.start()
        wait_for("all is loaded", lambda: loaded(daemon))
        told = lines(daemon, "log-missing")
        check(len(told) == 1 and f"file={segment.name}" in told[0] and "offset=" in told[0], daemon.log())
        check(not lines(daemon, "store-failed"), daemon.log())
        found = check_all(daemon, expect=1)
        check(found["wrong"] == found["unread"] == 0 and found["lost"] > 0, found)
        check(found["present"] > SESSIONS // 2, found)
        check("DAMAGED" in daemon.run("belayctl", "status"), "status tells of it")


def test_an_index_that_cannot_be_read():
    """Whatever is wrong with it, its segment says as much."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        fill(daemon)
        wait_for("the first segment is sealed", lambda: list(daemon.data.glob("**/log-*.idx")))
        daemon.kill()
        index = next(daemon.data.glob("**/log-*.idx"))
        index.unlink()
        for make in (index.mkdir, lambda: index.symlink_to(index.name), lambda: os.mkfifo(index)):
            make()
            daemon.start()
            wait_for("all is loaded", lambda: loaded(daemon))
            check_all(daemon)
            check("error" not in daemon.log(), daemon.log())
            daemon.kill()
            index.rmdir() if index.is_dir() else index.unlink()


def refused(daemon):
    """What a start says that is refused."""
    before = len(daemon.log())
    daemon.launch()
    check(daemon.wait() == 1, daemon.log())
    return daemon.log()[before:]


def test_missing_directories():
    with Daemon(shards=2) as daemon:
        daemon.start()
        daemon.run("belayctl", "session", "put", "user:1", "one", "--ack", "disk")
        check(daemon.stop() == 0, daemon.log())
        aside = daemon.directory / "aside"
        for name in ("gen-1", "gen-1/shard-0", "gen-1/shard-1"):
            place = daemon.data / name
            place.rename(aside)
            said = refused(daemon)
            check(f"{place} is missing" in said and not place.exists(), said)
            aside.rename(place)
        daemon.start()
        check("one" in daemon.run("belayctl", "session", "get", "user:1"), "all is there again")
        check("last_stop=crash" not in daemon.log(), "a start that was refused is no crash")
        check(daemon.stop() == 0, daemon.log())
        for name in ("gen-1/shard-0", "gen-1/shard-1"):
            (daemon.data / name).rename(daemon.directory / name.replace("/", "-"))
            (daemon.data / name).mkdir()
        daemon.start()
        check(len(lines(daemon, "log-missing")) == 2, daemon.log())
        daemon.run("belayctl", "session", "get", "user:1", expect=1)


def test_a_segment_that_leads_nowhere():
    """A dangling link in the place of a segment, or something else: the start names it, and touches nothing."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        daemon.run("belayctl", "session", "put", "user:1", "one", "--ack", "disk")
        check(daemon.stop() == 0, daemon.log())
        segment = min(daemon.data.glob("**/log-*.seg"))
        aside = daemon.directory / "aside"
        segment.rename(aside)
        segment.symlink_to(daemon.directory / "elsewhere")
        said = refused(daemon)
        check(f"{segment}: cannot open the log: No such file" in said, said)
        segment.unlink()
        segment.mkdir()
        said = refused(daemon)
        check(f"{segment}: cannot open the log: Is a directory" in said, said)
        segment.rmdir()
        os.mkfifo(segment)
        said = refused(daemon) # And not waited for.
        check(f"{segment}: cannot open the log: " in said, said)
        segment.unlink()
        segment.symlink_to(aside)
        daemon.start()
        check("one" in daemon.run("belayctl", "session", "get", "user:1"), "all is there")
        check(not lines(daemon, "log-missing") and not lines(daemon, "log-damaged"), daemon.log())


def test_missing_meta():
    """Nobody is told to remove sessions."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        daemon.run("belayctl", "session", "put", "user:1", "one", "--ack", "disk")
        check(daemon.stop() == 0, daemon.log())
        meta = daemon.data / "META"
        kept = meta.read_bytes()
        meta.unlink()
        said = refused(daemon)
        check("META is missing" in said and "copy" in said and "remove" not in said, said)
        meta.write_bytes(kept[:100])
        said = refused(daemon)
        check(f"{meta} is damaged" in said and "copy" in said, said)
        meta.write_bytes(kept)
        daemon.start()
        check("one" in daemon.run("belayctl", "session", "get", "user:1"), "all is there again")


if __name__ == "__main__":
    run_cases(__name__)
