"""The log goes to the archive, in a directory: what is acknowledged at `archive` is there, all else follows soon; an archive
that is away slows nobody and gets everything once it is back; kill -9 and restarts leave no gap.

What lies there is read with `belayctl archive cat`."""

import http.server
import json
import random
import re
import struct
import subprocess
import threading
import time

from cases import long, run_cases
from daemon import Daemon, check, program, reserve_port, wait_for
from native import WRITE, Connection, crc32c
from redis_kit import Client, port_of

ARCHIVE = 4
UNAVAILABLE = 36


class Archive:
    """A directory with objects, and what they say."""

    def __init__(self, daemon):
        self.path = daemon.directory / "archive"

    @property
    def url(self):
        return f"file://{self.path}"

    def objects(self):
        """Paths of the log objects, in the order of their names: of actors, and of one in that of its log."""
        return sorted(path for path in self.path.glob("*/log/*/*") if not path.name.startswith("."))

    def lines(self, path):
        shown = subprocess.run([program("belayctl"), "archive", "cat", str(path)], check=True,
                               stdout=subprocess.PIPE)
        return shown.stdout.decode().splitlines()

    def records(self):
        """(kind, key) of all records of all objects."""
        found = []
        for path in self.objects():
            for line in self.lines(path):
                match = re.match(r'record .*kind=(\w+) .*key="(.*)"$', line)
                if match:
                    found.append(match.groups())
        return found

    def keys(self):
        return {key for _, key in self.records()}

    def check_no_gap(self):
        """Names of one actor count without a gap, and each object goes on where the one before ended."""
        ends = {}
        for path in self.objects():
            actor, sequence = path.parent.name, int(path.name, 16)
            check(sequence == ends.get((actor, "next"), 1), f"{path}: after {ends}")
            ends[actor, "next"] = sequence + 1
            for line in self.lines(path):
                match = re.match(r"range shard=(\d+) from=(\d+) to=(\d+)$", line)
                if match:
                    shard, begin, end = map(int, match.groups())
                    check(begin <= end, line)
                    before = ends.get((actor, shard), begin)
                    check(begin == before, f"{path}: {line}, and the one before ended at {before}")
                    ends[actor, shard] = end


def status_of(daemon):
    return daemon.document("archive")["archive"]


def make(daemon, *settings):
    archive = Archive(daemon)
    daemon.settings += [f"archive.url={archive.url}", *settings]
    return archive


def test_flush():
    """Nobody asks for it, and it goes out all the same; what tells of it does."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=200ms")
        daemon.start()
        with Connection(daemon.native) as connection:
            for number in range(50):
                connection.put(b"k%d" % number, b"value" * 50)
            connection.put(b"k7", b"another")
        wait_for("all is archived", lambda: len(archive.keys()) == 50)
        wait_for("nothing is behind", lambda: status_of(daemon)["unarchived_bytes"] == 0)
        status = status_of(daemon)
        check(status["state"] == "ok" and status["based"] and status["rpo_ms"] == 0, status)
        check(status["objects"] == len(archive.objects()), status)
        check(0 < status["object_bytes"] and status["records"] >= 50, status)
        whole = daemon.document("status")
        check(whole["archive"]["state"] == "ok", whole)
        shown = daemon.run("belayctl", "archive", "status")
        check(archive.url in shown and "not archived  0 B" in shown, shown)
        metrics = daemon.http("/metrics")[1]
        check("\nbelay_archive_rpo_seconds 0\n" in metrics, metrics)
        check(f"\nbelay_archive_objects_total {status['objects']}\n" in metrics, metrics)
        check(daemon.http("/readyz")[1].strip() == "ready", daemon.http("/readyz"))
        check(daemon.stop() == 0, "exit code")
        archive.check_no_gap()


def test_without_one():
    with Daemon() as daemon:
        daemon.start()
        with Connection(daemon.native) as connection:
            head, _ = put(connection, b"k")
            check(head.get(1) == UNAVAILABLE and b"no archive" in head[2], head)
        check(status_of(daemon) == {"state": "off"}, status_of(daemon))
        for level, warns in (("disk", False), ("archive", True)):  # What cannot be kept is said when it is asked for.
            told = subprocess.run([program("belayctl"), "-s", daemon.native, "policy", "set", "p:", f"ack={level}"], check=True,
                                  capture_output=True, text=True)
            check(("node test has no archive" in told.stderr) == warns, told)


def put(connection, key, ack=ARCHIVE):
    """The reply's head, whatever it says."""
    return connection.call(WRITE, {1: key, 3: 1, 5: ack}, b"\x01\x00\x05value")


def test_ack_archive():
    """Both doors: the record is there when the answer comes, long before the next flush. Whoever asks for less does not
    wait."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h", 'policy "safe:".ack=archive')
        daemon.start()
        with Connection(daemon.native) as connection, Client(int(daemon.native.rsplit(":", 1)[1])) as redis:
            connection.put(b"lower", b"1")
            check(archive.objects() == [], archive.objects())
            head = connection.put(b"native", b"1", ack=ARCHIVE)
            check(head.get(3) == ARCHIVE, head)
            check({"native", "lower"} <= archive.keys() or "native" in archive.keys(), archive.records())
            check(redis.ask("SET", "safe:resp", "1") == b"OK", "SET")
            check("safe:resp" in archive.keys(), archive.records())
            check(redis.ask("DEL", "safe:resp") == 1, "DEL")
            for number in range(20):  # Changes of one session: whole once, then what changed.
                check(redis.ask("HSET", "safe:map", f"f{number}", "x" * 200) == 1, "HSET")
        kinds = [kind for kind, key in archive.records() if key == "safe:map"]
        check(kinds[0] == "full" and kinds.count("delta") >= 15, kinds)
        status = daemon.document("status")
        check(status["acks"]["archive"] == 23, status["acks"])
        check(daemon.stop() == 0, "exit code")
        check("lower" in archive.keys(), "at the end all goes out")
        archive.check_no_gap()


def test_bench():
    """Groups: many writes for each object, with fifty connections; and the audit counts the level."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h")
        daemon.start()
        said = json.loads(daemon.run("belay-bench", "run", "--ack", "archive", "--connections", 50,
                                     "--reads", 0, "--count", 2000, "--keys", 200, "--json"))
        status = status_of(daemon)
        check(status["objects"] > 0 and 2000 / status["objects"] >= 5, (status, said))
        acks = daemon.document("status")["acks"]
        check(acks["archive"] == 2000, acks)
        archive.check_no_gap()


def test_away():
    """The directory is gone: others are not slowed, `archive` ends in UNAVAILABLE, it is told; and back, all goes out."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=100ms", "archive.timeout=700ms")
        daemon.start()
        with Connection(daemon.native) as connection:
            check(connection.put(b"before", b"1", ack=ARCHIVE).get(3) == ARCHIVE, "ack")
            archive.path.rename(daemon.directory / "aside")
            archive.path.write_text("in its place")
            head, _ = put(connection, b"late")
            check(head.get(1) == UNAVAILABLE and b"did not take it in time" in head[2], head)
            for number in range(100):
                connection.put(b"lower%d" % number, b"1", ack=3)
            check(connection.get(b"late") == b"value", "it is done all the same")
            wait_for("it is away", lambda: status_of(daemon)["state"] == "degraded")
            status = status_of(daemon)
            check(status["cause"] and status["errors"] > 0 and status["unarchived_bytes"] > 0, status)
            wait_for("it ages", lambda: status_of(daemon)["rpo_ms"] > 500)
            code, text, _ = daemon.http("/readyz")
            check(code == 200 and text.startswith("ready; degraded: archive: "), (code, text))
            metrics = daemon.http("/metrics")[1]
            check("\nbelay_archive_degraded 1\n" in metrics, metrics)
            late = sum(int(count) for count in re.findall(r"^belay_archive_late_total{.*} (\d+)$",
                                                          metrics, re.MULTILINE))
            check(late == 1, metrics)
            check("archive-away" in daemon.log(), daemon.log())
            archive.path.unlink()
            (daemon.directory / "aside").rename(archive.path)
            wait_for("it is back", lambda: status_of(daemon)["state"] == "ok")
            check(connection.put(b"after", b"1", ack=ARCHIVE).get(3) == ARCHIVE, "ack")
        keys = archive.keys()
        check({"before", "late", "after", *(f"lower{number}" for number in range(100))} == keys, keys)
        check("archive-back" in daemon.log(), daemon.log())
        archive.check_no_gap()


def test_lost():
    """Log that is damaged before it went out: who waits for it is told so, and never that the archive has it."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h", "archive.timeout=10m", "node.shards=1")
        daemon.start()
        with Connection(daemon.native) as first, Connection(daemon.native) as second:
            check(first.put(b"before", b"1", ack=ARCHIVE).get(3) == ARCHIVE, "ack")
            archive.path.rename(daemon.directory / "aside")
            archive.path.write_text("in its place")
            heads = {}
            waiting = [threading.Thread(target=lambda: heads.update(first=put(first, b"built")[0]))]
            waiting[0].start()
            wait_for("its object is not taken", lambda: status_of(daemon)["errors"] > 0)
            waiting.append(threading.Thread(target=lambda: heads.update(second=put(second, b"damaged-key")[0])))
            waiting[1].start()
            where = []

            def is_written():
                for path in (daemon.directory / "data").glob("**/*.seg"):
                    at = path.read_bytes().find(b"damaged-key")
                    where[:] = [(path, at)] if at >= 0 else where
                return where
            wait_for("it is in the log", is_written)
            with where[0][0].open("r+b") as file:
                file.seek(where[0][1])
                file.write(b"DAMAGED-KEY")
            archive.path.unlink()
            (daemon.directory / "aside").rename(archive.path)
            for thread in waiting:
                thread.join()
            check(heads["first"].get(3) == ARCHIVE, heads)
            check(heads["second"].get(1) == UNAVAILABLE and b"lost" in heads["second"][2], heads)
            check(first.put(b"after", b"1", ack=ARCHIVE).get(3) == ARCHIVE, "ack")
        check("archive-alarm" in daemon.log(), daemon.log())


def test_stop_while_away():
    """A node stops, although the archive is away, and sends what was left when it is there again."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=100ms")
        daemon.start()
        archive.path.rename(daemon.directory / "aside")
        archive.path.write_text("in its place")
        with Connection(daemon.native) as connection:
            connection.put(b"k", b"1")
            wait_for("it is away", lambda: status_of(daemon)["state"] == "degraded")
        check(daemon.stop() == 0, "exit code")
        archive.path.unlink()
        (daemon.directory / "aside").rename(archive.path)
        daemon.start()
        wait_for("it is there", lambda: archive.keys() == {"k"})


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as it takes to be an archive that is empty, and gets objects."""

    names = []
    protocol_version = "HTTP/1.1"

    def answer(self, body=b""):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.names.append(self.path)
        self.answer()

    def log_message(self, *_):
        pass


def test_away_at_the_start():
    """An archive that was away at the start is found again though there is nothing to send, and gets what was there before it."""
    with Daemon() as daemon, reserve_port() as held:
        port = held.getsockname()[1]
        daemon.start()
        with Connection(daemon.native) as connection:
            for number in range(50):
                connection.put(b"old%d" % number, b"value")
        check(daemon.stop() == 0, "exit code")
        credentials = daemon.directory / "credentials"
        credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        # With another number of shards it lies in a checkpoint, and there is no log to send.
        daemon.settings += ["node.shards=3", "archive.url=s3://bucket/x", f"archive.endpoint=http://127.0.0.1:{port}",
                            f"archive.credentials_file={credentials}", "archive.flush=100ms"]
        daemon.start()
        check(status_of(daemon)["state"] == "degraded" and not status_of(daemon)["based"], status_of(daemon))
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Bucket) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                wait_for("it is whole", lambda: status_of(daemon)["based"])
                check(status_of(daemon)["state"] == "ok" and status_of(daemon)["objects"] == 0, status_of(daemon))
                check("archive-back" in daemon.log(), daemon.log())
                check(len(Bucket.names) == 2 and all("/checkpoint/" in name for name in Bucket.names), Bucket.names)
                check(daemon.stop() == 0, "exit code")
            finally:
                server.shutdown()
                thread.join()


class Writer(threading.Thread):
    """Writes key after key at `archive` until the node goes; `acked` are those that were acknowledged."""

    def __init__(self, daemon, prefix):
        super().__init__()
        self.address, self.prefix, self.acked = daemon.native, prefix, []
        self.start()

    def run(self):
        try:
            with Connection(self.address) as connection:
                for number in range(1000000):
                    key = f"{self.prefix}{number}"
                    connection.put(key.encode(), b"value", ack=ARCHIVE)
                    self.acked.append(key)
        except (OSError, ConnectionError):
            pass


@long
def test_kill():
    """What was acknowledged at `archive` is there after kill -9; what was not yet archived follows after the restart, from
    where it was, by another actor; nothing is missing."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=200ms")
        acked, lower = set(), set()
        for life in range(4):
            daemon.start()
            writers = [Writer(daemon, f"{life}-{number}-") for number in range(4)]
            with Connection(daemon.native) as connection:
                for number in range(200):
                    connection.put(b"low%d-%d" % (life, number), b"1")
                    lower.add(f"low{life}-{number}")
            wait_for("some are acknowledged", lambda: all(len(each.acked) > 5 for each in writers))
            daemon.kill()
            for writer in writers:
                writer.join()
                acked.update(writer.acked)
            check(acked <= archive.keys(), "acknowledged, and not there")
        daemon.start()
        wait_for("all is archived", lambda: (acked | lower) <= archive.keys())
        actors = {path.parent.name for path in archive.objects()}
        check(len(actors) >= 4, actors)
        check(daemon.stop() == 0, "exit code")
        archive.check_no_gap()


def test_restart():
    """After a clean stop the same actor goes on: its names count on, and nothing goes twice."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h")
        for life in range(3):
            daemon.start()
            with Connection(daemon.native) as connection:
                for number in range(10):
                    connection.put(b"%d-%d" % (life, number), b"1")
            check(daemon.stop() == 0, "exit code")
        records = archive.records()
        check(len(records) == 30 and len(set(records)) == 30, records)
        check(len({path.parent.name for path in archive.objects()}) == 1, archive.objects())
        check([int(path.name, 16) for path in archive.objects()] == [1, 2, 3], archive.objects())


def test_mark_beyond_the_log():
    """The log has lost its end: what comes in its place goes to the archive, also when the node is killed before it did."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h", "node.shards=1")
        daemon.start()
        with Connection(daemon.native) as connection:
            connection.put(b"before", b"1")
        check(daemon.stop() == 0, "exit code")
        mark = next(daemon.data.glob("**/archived"))
        beyond = bytearray(mark.read_bytes())
        end = struct.unpack_from("<Q", beyond, 16)[0]
        struct.pack_into("<Q", beyond, 16, end + 2000)
        struct.pack_into("<I", beyond, 60, crc32c(bytes(beyond[:60])))
        mark.write_bytes(beyond)
        daemon.start()
        kept = struct.unpack_from("<Q", mark.read_bytes(), 16)[0]
        check(kept <= end, (kept, end))
        with Connection(daemon.native) as connection:
            for number in range(100):
                connection.put(b"after%d" % number, b"1", ack=3)
        daemon.kill()
        daemon.start()
        check(daemon.stop() == 0, "exit code")
        missing = {f"after{number}" for number in range(100)} - archive.keys()
        check(not missing, missing)


class Checkpoint:
    """The last whole one."""

    def __init__(self, archive):
        done = sorted(archive.path.glob("*/checkpoint/*/*/done"))[-1]
        self.number = int(done.parent.name, 16)
        self.said = archive.lines(done)
        self.parts = sorted(path for path in done.parent.iterdir() if path.name != "done")
        self.keys = {match.group(1) for path in self.parts for line in archive.lines(path)
                     for match in [re.match(r'record .*kind=full .*key="(.*)"$', line)] if match}


def damage(daemon, values):
    """All that checkpoints have of these values. None is being made."""
    for path in daemon.data.glob("**/checkpoint-*/data.mdb"):
        content = path.read_bytes()
        with path.open("r+b") as file:
            for value in values:
                at = content.find(value)
                while at >= 0:
                    file.seek(at + 100)
                    file.write(b"damage")
                    at = content.find(value, at + 1)


def test_damaged_checkpoint():
    """Of the slot of a session that does not read back a checkpoint says nothing, as it would say that the session has ended."""
    with Daemon() as daemon:
        victim = random.Random(7).randbytes(3000)
        daemon.start()
        with Connection(daemon.native) as connection:
            for number in range(50):
                connection.put(b"old%d" % number, b"value" * 20)
            connection.put(b"victim", victim)
        check(daemon.stop() == 0, "exit code")
        daemon.settings += ["node.shards=3"]
        daemon.start()
        check(daemon.stop() == 0, "exit code")
        damage(daemon, [victim])
        archive = make(daemon, "archive.flush=100ms")
        daemon.start()
        wait_for("it is whole", lambda: status_of(daemon)["checkpoints"] == 1)
        whole = Checkpoint(archive)
        check(whole.keys == {f"old{number}" for number in range(50)}, whole.keys)
        seen = [line for line in whole.said if line.startswith("seen ")]
        check(len(seen) == 16383, len(seen))
        check(not status_of(daemon)["based"], "this life wrote it, and it is in no object")


def test_damaged_log():
    """Of what did not read back of the log, so that a compaction left it out, a checkpoint does not say that it has ended: what
    the archive has of it stays, and is restored."""
    with Daemon(settings=("node.shards=2",)) as daemon:
        archive = make(daemon, "archive.flush=100ms")
        daemon.start()
        with Connection(daemon.native) as connection:
            connection.put(b"victim", b"this-is-damaged")
            for number in range(20):
                connection.put(b"old%d" % number, bytes(5000))
            connection.put(b"last", b"1", ack=ARCHIVE)
        wait_for("all is archived", lambda: status_of(daemon)["unarchived_bytes"] == 0)
        check(daemon.stop() == 0, "exit code")
        where = [(path, path.read_bytes().find(b"this-is-damaged")) for path in daemon.data.glob("**/*.seg")]
        path, at = next(found for found in where if found[1] >= 0)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"THIS-IS-DAMAGED")
        for mark in daemon.data.rglob("archived"):
            mark.unlink()  # So that a checkpoint is made.
        daemon.start()
        wait_for("it is made", lambda: status_of(daemon)["checkpoints"] == 1)
        check("log-damaged" in daemon.log(), daemon.log())
        whole = Checkpoint(archive)
        check(whole.keys == {"last", *(f"old{number}" for number in range(20))}, whole.keys)
        slots = [int(re.search(r"slot=(\d+)", line).group(1)) for line in whole.said if line.startswith("seen ")]
        check(len(slots) == 8192 and len({slot % 2 for slot in slots}) == 1, "the other shard's")
        # By now all that is left reads back, and so it does at the next start; what was left out is missing all the same.
        check(daemon.stop() == 0, "exit code")
        for mark in daemon.data.rglob("archived"):
            mark.unlink()
        told = daemon.log().count("log-damaged")
        daemon.start()
        wait_for("another is made", lambda: status_of(daemon)["checkpoints"] == 1)
        check(daemon.log().count("log-damaged") == told, daemon.log())
        slots = [int(re.search(r"slot=(\d+)", line).group(1)) for line in Checkpoint(archive).said
                 if line.startswith("seen ")]
        check(len(slots) == 8192 and len({slot % 2 for slot in slots}) == 1, f"still the other shard's: {len(slots)}")
        daemon.run("belayctl", "archive", "forget", archive.url, "--older-than", "1ms")
        with Daemon() as fresh:
            fresh.start()
            # Without its mark the node could not know that the victim was archived: it has left a number out.
            fresh.run("belayctl", "archive", "restore", "--from", archive.url, expect=1)
            with Connection(fresh.native) as connection:
                check(connection.get(b"victim") == b"this-is-damaged", "it is there")
                check(connection.get(b"old7") == bytes(5000), "and the others")


def test_damaged_cold_session():
    """One that does not read back holds up nobody: what was changed of it goes, and all else; whether its checkpoint has it still, or
    it was left out of the next one."""
    with Daemon(shards=1, settings=("memory.limit=32MiB",)) as daemon:
        archive = make(daemon, "archive.flush=100ms")
        victims = {"victim": random.Random(7).randbytes(3000), "left-out": random.Random(8).randbytes(3000)}
        daemon.start()
        with Client(port_of(daemon)) as client:
            for key, value in victims.items():
                client.ask("HSET", key, "value", value)
            wait_for("they are archived", lambda: status_of(daemon)["unarchived_bytes"] == 0)
        archive.path.rename(daemon.directory / "aside")
        archive.path.write_text("in its place")
        with Client(port_of(daemon)) as client:
            client.ask("SET", "first", "1")
            wait_for("its object is not taken", lambda: status_of(daemon)["errors"] > 0)
            for key in victims:
                client.ask("HSET", key, "changed", "1")

        def fill(prefix, sessions):
            daemon.run("belay-bench", "fill", "--prefix", prefix, "--sessions", sessions, "--value-bytes", 4096, "--ack", "disk",
                       "--timeout-ms", 60_000, timeout_s=300)

        looks = []

        def rests():
            """For two seconds: the next compaction would take to another place what is about to be damaged."""
            status = daemon.document("status")
            looks.append((status["checkpoint"]["count"], status["cold"]["sessions"]))
            time.sleep(0.5)
            return (looks[-1][1] > 3000 and looks[-5:] == looks[-1:] * 5 and
                    not any(daemon.data.glob("**/checkpoint-*.tmp")))
        fill("a:", 10_000)
        wait_for("most are cold, and nothing moves", rests, 60)
        damage(daemon, [victims["left-out"]])
        for number in range(10):
            if "checkpoint-damaged" in daemon.log():
                break
            fill(f"b{number}:", 2000)
        wait_for("it is left out", lambda: "checkpoint-damaged" in daemon.log())
        wait_for("nothing moves", rests, 60)
        damage(daemon, [victims["victim"]])
        # The next object's name is taken, so that it is made anew, and may not build on what went before.
        last = sorted((daemon.directory / "aside").glob("*/log/*/*"))[-1]
        last.with_name(f"{int(last.name, 16) + 1:016x}").write_bytes(b"another's")
        archive.path.unlink()
        (daemon.directory / "aside").rename(archive.path)
        wait_for("all is archived", lambda: status_of(daemon)["unarchived_bytes"] == 0, 60)
        next(archive.path.glob(f"*/log/*/{int(last.name, 16) + 1:016x}")).unlink()
        found = [record for record in archive.records() if record[1] in victims]
        check({("delta", key) for key in victims} <= set(found), found)
        told = [line for line in daemon.log().splitlines() if "archive-damaged-session" in line]
        check(len(told) == 1 and any(f"key={key} " in told[0] for key in victims), told or daemon.log()[-2000:])


def test_checkpoint():
    """What was there before the archive goes there as a checkpoint, all of it, once; so does nothing twice over a restart."""
    with Daemon() as daemon:
        daemon.start()
        with Connection(daemon.native) as connection:
            for number in range(500):
                connection.put(b"old%d" % number, b"value" * 20)
        daemon.run("belay-bench", "fill", "--sessions", 3000, "--prefix", "fill:", "--value-bytes", 900)
        check(daemon.stop() == 0, "exit code")
        # With another number of shards all of it lies in checkpoints.
        archive = make(daemon, "node.shards=3", "archive.flush=100ms", "archive.object_size=1MiB")
        daemon.start()
        wait_for("it is whole", lambda: status_of(daemon)["based"])
        whole = Checkpoint(archive)
        check(len(whole.keys) == 3500 and len(whole.parts) > 1, (len(whole.keys), whole.parts))
        with open("/dev/full", "w", encoding="ascii") as full:  # That it cannot be shown says nothing of the object.
            told = subprocess.run([program("belayctl"), "archive", "cat", str(whole.parts[0])], check=False, stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        check(told.returncode != 0 and "not all of it was written" in told.stderr and "Input/output" not in told.stderr, told)
        check(f" parts={len(whole.parts)} " in whole.said[0], whole.said[0])
        seen = [line for line in whole.said if line.startswith("seen ")]
        check(len(seen) == 16384, len(seen))
        check(status_of(daemon)["checkpoints"] == 1, status_of(daemon))
        with Connection(daemon.native) as connection:
            connection.put(b"new", b"1", ack=ARCHIVE)
        check("new" in archive.keys(), "the log goes on")
        check(daemon.stop() == 0, "exit code")
        daemon.start()
        check(status_of(daemon)["based"], "it is known")
        with Connection(daemon.native) as connection:
            connection.put(b"newer", b"1", ack=ARCHIVE)
        check(Checkpoint(archive).number == whole.number, "another one")
        check(daemon.stop() == 0, "exit code")
        # Where it does not know what it sent: what is in the log alone has to come into the checkpoint first.
        marks = list(daemon.data.rglob("archived"))
        check(len(marks) == 3, marks)
        for mark in marks:
            mark.unlink()
        daemon.start()
        wait_for("it is whole", lambda: status_of(daemon)["based"])
        second = Checkpoint(archive)
        check(second.number == whole.number + 1, second.number)
        check(second.keys == whole.keys | {"new", "newer"}, second.keys - whole.keys)


def test_done_before_the_archive():
    """Who tries again what was done before the archive was there is not told that the archive has it, until that has everything."""
    fields = {1: b"old", 3: 1, 5: 3, 6: 77, 7: 1}
    with Daemon() as daemon:
        daemon.start()
        with Connection(daemon.native) as connection:
            check(connection.call(WRITE, fields, b"\x01\x00\x05value")[0].get(3) == 3, "ack")
        check(daemon.stop() == 0, "exit code")
        cluster = re.search(r"^cluster=?\s*(\w{32})$", (daemon.data / "META").read_text(), re.MULTILINE).group(1)
        # With another number of shards it lies in a checkpoint, and the archive takes only the log.
        archive = make(daemon, "node.shards=3", "archive.flush=100ms")
        in_place = archive.path / cluster / "checkpoint"
        in_place.parent.mkdir(parents=True)
        in_place.write_text("in its place")
        daemon.start()
        fields[5] = ARCHIVE
        with Connection(daemon.native) as connection:
            check(connection.put(b"new", b"1", ack=ARCHIVE).get(3) == ARCHIVE, "the log goes out")
            head = connection.call(WRITE, fields, b"\x01\x00\x05value")[0]
            check(head.get(1) == UNAVAILABLE and b"not known here" in head[2], head)
            check(not status_of(daemon)["based"], status_of(daemon))
            in_place.unlink()
            wait_for("it is whole", lambda: status_of(daemon)["based"])
            head = connection.call(WRITE, fields, b"\x01\x00\x05value")[0]
            check(head.get(1, 0) == 0 and head.get(3) == ARCHIVE, head)
        check("old" in Checkpoint(archive).keys, "it is there")  # The other one lies in the log, and perhaps here, too.


@long
def test_another_place():
    """Where archive.url is another one than before, that archive gets what the node has, from its first name on; and so does
    the first one again, once the node is back there."""
    with Daemon() as daemon:
        first, second = Archive(daemon), Archive(daemon)
        second.path = daemon.directory / "other"
        for archive in (first, second):
            archive.path.mkdir()
        keys = set()

        def put_some(count, ack):
            with Connection(daemon.native) as connection:
                for _ in range(count):
                    keys.add(f"k{len(keys)}")
                    connection.put(b"k%d" % (len(keys) - 1), b"1", ack=ack)

        def begin(archive):
            daemon.settings[-1] = f"archive.url={archive.url}"
            daemon.start()
            wait_for("it is whole", lambda: status_of(daemon)["based"])

        def is_all_in(archive):
            return Checkpoint(archive).keys | archive.keys() == keys

        daemon.start()
        put_some(30, ack=3)
        check(daemon.stop() == 0, "exit code")
        # With another number of shards all of it lies in checkpoints, and none in the log.
        daemon.settings += ["archive.flush=50ms", "archive.keep=0", "node.shards=3", ""]
        begin(first)
        put_some(20, ARCHIVE)
        check(is_all_in(first), "all is in the first place")
        check("archive-elsewhere" not in daemon.log(), daemon.log())
        check(daemon.stop() == 0, "exit code")
        begin(second)
        put_some(1, ARCHIVE)
        check("archive-elsewhere" in daemon.log(), daemon.log())
        check(is_all_in(second), "all is in the second place")
        check(int(second.objects()[0].name, 16) == Checkpoint(second).number == 1, second.objects())
        check(len(Checkpoint(first).keys | first.keys()) == 50, "the first one has what it had")
        check(daemon.stop() == 0, "exit code")
        begin(second)
        put_some(1, ARCHIVE)
        check(Checkpoint(second).number == 1, "the same place needs no other")
        check(daemon.stop() == 0, "exit code")
        begin(first)
        put_some(1, ARCHIVE)
        check(is_all_in(first), "all is in the first place again")
        for archive in (first, second):
            told = subprocess.run([program("belayctl"), "archive", "verify", archive.url], check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            check(told.returncode == 0, told.stdout)


def test_names_are_taken():
    """Objects that are there under names to come, as of a copy of this directory: an alarm, and they stay."""
    with Daemon() as daemon:
        archive = make(daemon, "archive.flush=1h")
        daemon.start()
        with Connection(daemon.native) as connection:
            connection.put(b"a", b"1", ack=ARCHIVE)
            first = archive.objects()[0]
            taken = first.with_name(f"{2:016x}")
            taken.write_text("another's")
            connection.put(b"b", b"1", ack=ARCHIVE)
        check(taken.read_text() == "another's", "it was replaced")
        check(status_of(daemon)["conflicts"] == 1, status_of(daemon))
        check("archive-alarm" in daemon.log(), daemon.log())
        third = first.with_name(f"{3:016x}")
        check(any('key="b"' in line for line in archive.lines(third)), archive.lines(third))


def test_silent_at_the_start():
    """An archive that does not answer keeps no node from serving, nor from stopping."""
    with reserve_port() as held, Daemon(settings=[
            "archive.url=s3://example.org/prefix", "archive.timeout=500ms",
            f"archive.endpoint=http://127.0.0.1:{held.getsockname()[1]}"]) as daemon:
        credentials = daemon.directory / "credentials"
        credentials.write_text("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n")
        daemon.settings.append(f"archive.credentials_file={credentials}")
        daemon.start()
        check(status_of(daemon)["state"] == "degraded", status_of(daemon))
        with Connection(daemon.native) as connection:
            connection.put(b"lower", b"1", ack=3)
            head, _ = put(connection, b"late")
            check(head.get(1) == UNAVAILABLE, head)
        check(daemon.stop() == 0, daemon.log())


def refused(settings):
    """Returns exit code and what it said."""
    with Daemon(settings=settings) as daemon:
        daemon.launch()
        code = daemon.wait()
        return code, daemon.log()


def test_refused():
    code, said = refused(["archive.url=file:///not/there/at/all"])
    check(code == 1 and "cannot start" in said and "/not/there/at" in said, said)
    code, said = refused(["archive.url=ftp://example.org/x"])
    check(code == 2 and "archive.url" in said, said)
    code, said = refused(["archive.url=s3://example.org", "archive.credentials_file=/not/there"])
    check(code == 1 and "credentials file" in said, said)


if __name__ == "__main__":
    run_cases(__name__)
