"""What a coordinator has not archived is archived by those that have copies of it: where it is lost with its disk, where it
lives and its archive takes nothing, and where who has a copy started anew before it did."""

import binascii
import json
import re
import subprocess
from contextlib import contextmanager

from cases import run_cases
from cluster import Cluster
from daemon import Daemon, check, program, wait_for
from native import WRITE, Connection
from redis_kit import Client, port_of

ARCHIVE = 4


class Archive:
    """One archive for a cluster, which each node reaches by a way of its own: a link, which can be cut."""

    def __init__(self, cluster, flush):
        self.path = cluster.directory / "archive"
        self.path.mkdir()
        for node in cluster:
            self.mend(node)
            node.settings += [f"archive.url=file://{self.way(node)}", f"archive.flush={flush}"]

    def way(self, node):
        return node.directory / "way"

    def mend(self, node):
        self.way(node).unlink(missing_ok=True)
        self.way(node).symlink_to(self.path)

    def cut(self, node):
        self.way(node).unlink()
        self.way(node).write_text("in its place")

    def find(self, names, what):
        """What matches in what `belayctl archive cat` says of the objects of such names."""
        found = set()
        for path in self.path.glob(names):
            if not path.name.startswith("."):
                shown = subprocess.run([program("belayctl"), "archive", "cat", str(path)], check=True, stdout=subprocess.PIPE)
                found.update(re.findall(what, shown.stdout.decode(), re.MULTILINE))
        return found

    def keys(self):
        """Of the records of all log objects."""
        return self.find("*/log/*/*", r'^record .*key="(.*)"$')


@contextmanager
def archiving(count, flush):
    with Cluster(count) as cluster:
        archive = Archive(cluster, flush)
        yield cluster.start(), archive


def status_of(node):
    return node.ask("archive", "status")["archive"]


def is_archived(node):
    """All that was written at this node, or is a copy here."""
    status = status_of(node)
    return status["unarchived_bytes"] == 0 and status["rpo_ms"] == 0 and status["others_ms"] == 0


def coordinators(cluster, keys):
    """Key to the name of the node that coordinates it, by the map of the first one."""
    runs = cluster[0].ask("ring")["runs"]
    found = {}
    for key in keys:
        slot = binascii.crc_hqx(key.encode(), 0) % 16384
        found[key] = next(run["owners"][0] for run in runs if run["first"] <= slot <= run["last"])
    return found


def write(node, keys):
    """Each twice, so that the second time what changed of it is logged."""
    with Client(port_of(node)) as client:
        for field in ("first", "second"):
            for key in keys:
                check(client.ask("HSET", key, field, f"{field} of {key}" * 20) == 1, key)


def check_restored(archive, keys):
    """A fresh node gets all of them from the archive."""
    with Daemon() as fresh:
        fresh.start()
        fresh.run("belayctl", "archive", "restore", "--from", f"file://{archive.path}")
        with Client(port_of(fresh)) as client:
            for key in keys:
                wanted = [f"{field} of {key}".encode() * 20 for field in ("first", "second")]
                check(client.ask("HMGET", key, "first", "second") == wanted, f"{key}: {client.ask('HGETALL', key)}")
            check(client.ask("DBSIZE") >= len(keys), client.ask("DBSIZE"))


def lose(node):
    node.kill()
    node.wipe()


def test_lost_with_its_disk():
    """A node dies before it has archived anything, and its disk is gone; then all others, once they say that all is archived.
    Nothing is lost."""
    with archiving(3, "500ms") as (cluster, archive):
        lost = cluster[1]
        archive.cut(lost)
        keys = [f"k{number}" for number in range(300)]
        write(cluster[0], keys)
        its = [key for key, name in coordinators(cluster, keys).items() if name == lost.name]
        check(len(its) > 30, its)
        lose(lost)
        others = cluster.running()
        wait_for("all is archived", lambda: all(is_archived(node) for node in others))
        check(sum(status_of(node)["taken_records"] for node in others) >= len(its), "they did that")
        wait_for("metrics say so", lambda: f"\nbelay_archive_taken_records_total {status_of(others[0])['taken_records']}\n"
                 in others[0].http("/metrics")[1])
        for node in others:
            lose(node)
        check_restored(archive, keys)


def test_lost_under_load():
    """The same while clients write: what was acknowledged at lower levels before all was archived is there."""
    with archiving(3, "500ms") as (cluster, archive):
        lost = cluster[2]
        record = cluster.directory / "record"
        servers = ",".join(node.native for node in cluster)
        archive.cut(lost)  # What it stamps is archived by others alone, however slow this machine is.
        with subprocess.Popen([program("belay-bench"), "run", "--server", servers, "--reads", "0", "--keys", "2000",
                               "--connections", "8", "--rate", "1000", "--count", "5000", "--record", str(record),
                               "--timeout-ms", "30000"], stdout=subprocess.DEVNULL) as load:
            try:
                wait_for("the load has begun, and is archived",
                         lambda: all(status_of(node)["objects"] > 0 for node in cluster if node is not lost))
                lose(lost)
                check(load.wait(timeout=120) == 0, "the load")
            finally:
                load.kill()
        others = cluster.running()
        wait_for("all is archived", lambda: all(is_archived(node) for node in others))
        check(sum(status_of(node)["taken_records"] for node in others) > 0, [status_of(node) for node in others])
        for node in others:
            lose(node)
        with Daemon() as fresh:
            fresh.start()
            fresh.run("belayctl", "archive", "restore", "--from", f"file://{archive.path}")
            said = json.loads(fresh.run("belay-bench", "audit", str(record), "--server", fresh.native, "--json"))
            faults = {name: count for name, count in said["all"].items() if name != "acked" and count != 0}
            # The one write that each connection had under way may have been applied, for all that it was told.
            check(said["all"]["acked"] >= 5000 - 8 and not faults, said)


def test_behind():
    """A node whose archive takes nothing lives on: what it stamps is archived by the others, until it does so itself."""
    with archiving(2, "300ms") as (cluster, archive):
        behind, other = cluster
        archive.cut(behind)
        keys = [f"k{number}" for number in range(60)]
        write(other, keys)
        its = {key for key, name in coordinators(cluster, keys).items() if name == behind.name}
        check(len(its) > 10, its)
        wait_for("it is taken", lambda: its <= archive.keys())
        wait_for("it says so", lambda: status_of(behind)["state"] == "degraded")
        wait_for("and all of it", lambda: is_archived(other))
        write(other, [f"l{number}" for number in range(60)])  # What still comes of it as well.
        wait_for("and all of that", lambda: {f"l{number}" for number in range(60)} <= archive.keys())
        shown = other.run("belayctl", "archive", "status")
        check("in place of" in shown, shown)
        archive.mend(behind)
        wait_for("it does it itself", lambda: status_of(behind)["state"] == "ok" and
                 all(is_archived(node) and status_of(node)["taken_nodes"] == 0 for node in cluster))
        check_restored(archive, keys)


def kept_lsns(node):
    """Up to where each shard's log is archived, as it is kept (server/store/archive_mark.h)."""
    return [path.read_bytes()[16:24] for path in sorted(node.data.rglob("archived"))]


def test_start_of_who_has_the_copy():
    """Who has copies has archived what it stamped itself, keeps that, and is killed, while the other one is lost with its disk:
    it still finds what that one had not archived."""
    with archiving(2, "1h") as (cluster, archive):
        stays, lost = cluster
        archive.cut(lost)
        keys = [f"k{number}" for number in range(200)]
        write(stays, keys)
        found = coordinators(cluster, keys + [f"own{number}" for number in range(100)])
        check(sum(found[key] == lost.name for key in keys) > 30, found)
        own = next(key for key in found if key.startswith("own") and found[key] == stays.name)
        marks = kept_lsns(stays)
        with Connection(stays.native) as connection:
            check(connection.put(own.encode(), b"1", ack=ARCHIVE).get(3) == ARCHIVE, "ack")
        check(status_of(stays)["others_ms"] > 0, status_of(stays))
        wait_for("how far it is, is kept", lambda: kept_lsns(stays) != marks)
        check(not {key for key in keys if found[key] == lost.name} <= archive.keys(), "not all is archived yet")
        lose(lost)
        stays.kill()
        stays.set("archive.flush", "300ms")
        cluster.restart(stays)
        wait_for("all is archived", lambda: status_of(stays)["objects"] > 0 and is_archived(stays))
        lose(stays)
        check_restored(archive, keys)


def damage(node, text):
    """Of this record in the node's log, once it is there."""
    where = {}

    def is_written():
        for path in node.data.rglob("*.seg"):
            at = path.read_bytes().find(text)
            where.update({path: at} if at >= 0 else {})
        return where
    wait_for("it is in the log", is_written)
    for path, at in where.items():
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"x" * len(text))


def test_gap_is_counted_once():
    """Log that is damaged before it was archived is missing once, although it is walked again, for what a lost node stamped."""
    with archiving(3, "1h") as (cluster, archive):
        stays, lost, _ = cluster
        archive.cut(lost)
        keys = [f"k{number}" for number in range(60)]
        write(stays, keys)
        own = [f"own{number}" for number in range(100)]
        found = coordinators(cluster, keys + own)
        check(any(found[key] == lost.name for key in keys), found)
        own = [key.encode() for key in own if found[key] == stays.name]
        with Connection(stays.native) as connection:
            connection.put(own[0], b"this-is-damaged")
            for key in own[1:20]:
                connection.put(key, bytes(5000))  # The block of the log in which it lies is not written again.
            damage(stays, b"this-is-damaged")
            # Until then nothing is due; it is told that some of the log is lost.
            connection.call(WRITE, {1: own[1], 3: 1, 5: ARCHIVE}, b"\x01\x00\x05value")
        wait_for("something is missing", lambda: status_of(stays)["gap_bytes"] > 0)
        missing = status_of(stays)["gap_bytes"]
        told = subprocess.run([program("belayctl"), "--json", "archive", "verify", f"file://{archive.path}"], capture_output=True,
                              check=False, text=True)
        gaps = json.loads(told.stdout)["gaps"]
        check(told.returncode == 1 and len(gaps) == 1 and gaps[0]["first"] == gaps[0]["last"], told)
        check(status_of(stays)["taken_records"] == 0, status_of(stays))
        lose(lost)
        wait_for("its tail is archived", lambda: status_of(stays)["taken_records"] > 0 and status_of(stays)["taken_nodes"] == 0)
        check(status_of(stays)["gap_bytes"] == missing, f"{missing}: {status_of(stays)}")


def test_base_without_the_damaged():
    """What is damaged in the log before it was archived is in no checkpoint either: others, who have it, are not told that all is
    archived, and archive it."""
    with archiving(2, "300ms") as (cluster, archive):
        node, other = cluster
        found = coordinators(cluster, [f"own{number}" for number in range(100)])
        own = [key.encode() for key, name in found.items() if name == node.name]
        archive.cut(other)  # So that it has not archived it in the other's place by then.
        archive.cut(node)
        with Connection(node.native) as connection:
            connection.put(own[0], b"built")
            wait_for("its object is not taken", lambda: status_of(node)["errors"] > 0)
            connection.put(own[1], b"this-is-damaged")
            for key in own[2:20]:
                connection.put(key, bytes(5000))  # The block of the log in which it lies is not written again.
        damage(node, b"this-is-damaged")
        archive.mend(node)
        wait_for("some is missing, and the base is there",
                 lambda: status_of(node)["gap_bytes"] > 0 and status_of(node)["checkpoints"] > 0)
        check(not status_of(node)["based"], status_of(node))
        archive.mend(other)
        wait_for("the other one archives it", lambda: is_archived(other))
        for lost in cluster.running():
            lose(lost)
        with Daemon() as fresh:
            fresh.start()
            # What the node could not archive is named, though the other one did.
            fresh.run("belayctl", "archive", "restore", "--from", f"file://{archive.path}", expect=1)
            with Connection(fresh.native) as connection:
                check(connection.get(own[1]) == b"this-is-damaged", "it is there")


def test_checkpoint_after_a_start():
    """A node that starts does not know yet what its slots have seen; its first checkpoint waits until it does, and has all."""
    with Cluster(2) as cluster:
        cluster.start()
        keys = [f"k{number}" for number in range(200)]
        write(cluster[0], keys)
        cluster.await_settled()
        for node in (cluster[1], cluster[0]):
            check(node.stop() == 0, f"{node.name} stops")
        archive = Archive(cluster, "300ms")
        alone = cluster[0]
        for path in alone.data.rglob("seen"):
            path.unlink()
        alone.set("node.shards", 3)  # So all of it lies in checkpoints, and none in the log.
        cluster.restart(alone)
        wait_for("it is whole", lambda: status_of(alone)["based"], 60)
        seen = archive.find("*/checkpoint/*/*/done", r"^seen slot=(\d+)")
        check(len(seen) > 6000, len(seen))
        found = archive.find("*/checkpoint/*/*/0*", r'^record .*key="(.*)"$')
        check({key for key in keys if str(binascii.crc_hqx(key.encode(), 0) % 16384) in seen} <= found, found)


if __name__ == "__main__":
    run_cases(__name__)
