"""Files of a data directory that were cut, removed or exchanged: what is lost is named, with its file, what is
left is served, and a start that could not know what is lost is refused with what to do."""

import json
import os

from cases import long, run_cases
from daemon import BUILD, Daemon, check, wait_for
from redis_kit import Client, Error, port_of

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


@long
def test_a_disk_that_does_not_read():
    """A restart serves what reads; of what does not it says so, soon, and so do /readyz and the status, until it reads."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        keys = [f"key:{number}" for number in range(40)]
        with Client(port_of(daemon)) as client:
            for key in keys:
                check(client.ask("SET", key, "value") == b"OK", key)
        fill(daemon)
        wait_for("the first segment is sealed", lambda: list(daemon.data.glob("**/log-*.idx")))
        daemon.kill()
        bad = daemon.directory / "bad"
        bad.write_text("")
        segment = next(daemon.data.glob("**/log-*.idx")).with_suffix(".seg")
        daemon.wrapper = ["env", f"LD_PRELOAD={BUILD / 'tests/integration/bad_disk.so'}", f"BAD_DISK={bad}",
                          f"BAD_FILE={segment.name}"]
        daemon.start()
        with Client(port_of(daemon)) as client, Client(port_of(daemon)) as other, Client(port_of(daemon)) as scans:
            client.send("GET", keys[0])
            scans.send("SCAN", "0")
            check(other.ask("SET", "new", "value") == b"OK" and other.ask("GET", "new") == b"value", "others are served")
            answer = client.read()
            check(isinstance(answer, Error) and b"does not read from this node's disk" in answer, answer)
            for key in keys[1:]:  # Without waiting for each.
                answer = client.ask("GET", key)
                check(isinstance(answer, Error) and b"does not read from this node's disk" in answer, answer)
            for answer in (scans.read(), scans.ask("SCAN", "0")):
                check(isinstance(answer, Error) and b"not all sessions can be looked at now" in answer, answer)
            check(other.ask("GET", "new") == b"value", "others are served")
            ready, said, _ = daemon.http("/readyz")
            check(ready == 503 and "cannot read all of its sessions from the disk" in said, said)
            check("cannot read all of its sessions" in daemon.run("belayctl", "status"), "status")
            check("belay_load_failing{shard=\"0\"} 1" in daemon.http("/metrics")[1], "metric")
            told = lines(daemon, "store-failed")
            check(f"file={segment.name}" in told[0] and "Input/output error" in told[0] and len(told) < 4, told)
            bad.unlink()
            wait_for("all is loaded", lambda: loaded(daemon))
            wait_for("it is ready", lambda: daemon.http("/readyz")[0] == 200)
            check([client.ask("GET", key) for key in keys] == [b"value"] * len(keys), "all is there")
            check(client.ask("DBSIZE") == SESSIONS + len(keys) + 1, "all is there")


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
