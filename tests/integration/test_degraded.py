"""The disk of one node of a cluster is full: the others take its part, also of the writes, until there is room again."""

import contextlib
import os
import socket
import subprocess
import tempfile
from pathlib import Path

from cases import long, run_cases
from cluster import Cluster, Node
from daemon import check, wait_for
from redis_kit import Client, command, port_of

VALUE_BYTES = 8000
MIB = 1024 * 1024


@contextlib.contextmanager
def small_disk(mib):
    """A file system in memory that is full soon; None where none may be mounted."""
    place = Path(tempfile.mkdtemp(prefix="belay-test-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place], capture_output=True, check=False)
    try:
        yield place if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()


class Writer:
    """Writes one key after the other through a node, and keeps what was acknowledged."""

    def __init__(self, node):
        self.client = Client(port_of(node), timeout_s=120)
        self.written = {}
        self.refused = []

    def write(self, count):
        for _ in range(count):
            key, value = f"k{len(self.written) + len(self.refused)}", os.urandom(VALUE_BYTES)
            answer = self.client.ask("SET", key, value)
            if answer == b"OK":
                self.written[key] = value
            else:
                self.refused.append(answer)

    def differing(self, node, keys):
        """Of these keys those that the node does not give as they were written."""
        with Client(port_of(node)) as client:
            answers = client.ask_all(("GET", key) for key in keys)
        return [(key, answer and answer[:60]) for key, answer in zip(keys, answers) if answer != self.written[key]]


@long
def test_full_disk():
    """Until the others know of it its writes are refused; then all are done, acknowledged, and read everywhere. With room
    again it is compared with the others before it takes its part: it has all that it missed."""
    with small_disk(400) as place:
        if place is None:
            print("not shown: no file system may be mounted here", flush=True)
            return

        def make(name, directory):
            return Node(name, place / name if name == "n2" else directory, settings=["storage.segment_size=4MiB"])

        with Cluster(3, make=make) as cluster:
            cluster.start()
            full = cluster[1]
            filler = place / "filler"
            with open(filler, "wb") as file:
                free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
                os.posix_fallocate(file.fileno(), 0, free - 12 * MIB)
            writer = Writer(cluster[0])

            def is_known(): # Many writes for each question: programs are slow to start, and the log takes 64 MiB first.
                writer.write(1000)
                return all(cluster.states(node).get("n2") == "degraded" for node in cluster)

            wait_for("all know that its disk is full", is_known, 120)
            check(all(b"no room on the disk" in answer for answer in writer.refused), writer.refused)

            def all_are_taken():
                refused = len(writer.refused)
                writer.write(100)
                return len(writer.refused) == refused

            wait_for("its slots are the next owner's", all_are_taken)
            before = list(writer.written)
            refused = len(writer.refused)
            writer.write(1500)
            check(len(writer.refused) == refused, writer.refused[refused:][:5])
            missed = list(writer.written)[len(before):]
            for node in cluster:
                wrong = writer.differing(node, [*before[::5], *missed])
                check(not wrong, (node.name, wrong[:5]))
            with Client(port_of(full)) as client:
                check(client.ask("SET", "at", "it") == b"OK", "it passes on what it is asked")
                check(client.ask("DBSIZE") == len(writer.written) + 1, "it counts what others have")
            filler.unlink()
            wait_for("it is well again", lambda: cluster.states(cluster[0]).get("n2") == "active", 120)
            cluster.await_settled()
            cluster.ring = None
            its = [key for key in missed if full in cluster.owners(key.encode())]
            check(len(its) > 500, "no test")
            writer.write(200)
            check(not writer.differing(full, list(writer.written)[-200:]), "what came after")
            wait_for("it has compared all", lambda: not_level(full) == 0)
            for node in (cluster[0], cluster[2]):
                node.kill()
            wait_for("it serves what it has", lambda: not writer.differing(full, its))


def metric(node, name):
    lines = [line for line in node.http("/metrics")[1].splitlines() if line.startswith(name + " ")]
    return float(lines[0].rsplit(" ", 1)[1])


def test_degrade():
    """As an operator said: sessions that begin in a node's slots are begun by the next owner, and found at once wherever they
    are asked for; what was there goes on. Over a restart, too; until it is taken back."""
    with Cluster(3, settings=["cluster.replicas=3"]) as cluster:
        cluster.start()
        first, chosen = cluster[0], cluster[1]

        def owners(key):
            return [owner["name"] for owner in first.ask("session", "where", key)["owners"]]

        its = [key for key in (f"k{number}" for number in range(60)) if owners(key)[0] == "n2"]
        check(len(its) > 8, "no test")
        old, new = its[:4], its[4:]
        put = [first.ask("session", "put", key, "a=1") for key in old]
        said = first.ask("node", "degrade", "n2")
        check(said["name"] == "n2" and said["state"] == "degraded", said)
        check(first.run("belayctl", "node", "degrade", "n2") == "n2 is degraded\n", "again")
        reason = 'belay_cluster_degraded{reason="operator"}'
        wait_for("all know", lambda: all(cluster.states(node).get("n2") == "degraded" and metric(node, reason) == 1
                                         for node in cluster))
        row = next(row for row in chosen.ask("node", "list")["nodes"] if row["name"] == "n2")
        check(row["degraded_by"] == ["operator"], row)
        check("n2 is degraded: somebody said so" in first.run("belayctl", "node", "list"), "node list")
        check("; it is degraded" in chosen.run("belayctl", "status"), "status")
        check(chosen.ask("status")["cluster"]["degraded_by"] == ["operator"], "status")

        def created(node):
            return node.ask("status")["created"]

        before = created(chosen)
        stack = contextlib.ExitStack()
        clients = [stack.enter_context(Client(port_of(node))) for node in cluster]
        for turn, key in enumerate(new):
            asked, other = clients[turn % 3], clients[(turn + 1) % 3]
            if turn % 2 == 0:
                check(asked.ask("SET", key, "0") == b"OK", key)
            for count in range(1, 20):
                check((asked, other)[count % 2].ask("INCR", key) == count, f"{key}: not in order")
            check(other.ask("GET", key) == b"19", key)
        for number in range(20): # And what comes while the first write is under way waits for it.
            key = f"{{{new[number % len(new)]}}}{number}"
            client = clients[number % 3]
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(300): # One by one, as the copies come.
                client.socket.sendall(command(("INCR", key)))
            counted = [client.read() for _ in range(300)]
            check(counted == list(range(1, 301)), f"{key}: {counted}")
        check(created(chosen) == before, "it began some itself")
        for key in old:
            first.run("belayctl", "session", "put", key, "b=2")
            check(b"1" in clients[1].ask("HGETALL", key) and b"2" in clients[2].ask("HGETALL", key), key)
        check(len(put) == 4, put)
        stack.close()
        chosen.stop()
        chosen.start()
        wait_for("it still is", lambda: cluster.states(first).get("n2") == "degraded")
        refused = first.run("belayctl", "node", "degrade", "n9", expect=1)
        check(refused == "", refused)
        # It may be down for a moment, as its stop is noticed late.
        wait_for("undegrade",
                 lambda: first.run("belayctl", "node", "undegrade", "n2", expect=None) == "n2 is active\n", 120)
        wait_for("all know", lambda: all(metric(node, reason) == 0 for node in cluster))
        wait_for("it begins sessions", lambda: begins(chosen, first, owners))


def begins(chosen, asked, owners):
    """Is a new session of the node's begun there?"""
    key = next(key for key in (f"n{os.urandom(4).hex()}" for _ in range(1000)) if owners(key)[0] == chosen.name)
    before = chosen.ask("status")["created"]
    asked.run("belayctl", "session", "put", key, "a=1")
    return chosen.ask("status")["created"] == before + 1


def not_level(node):
    lines = [line for line in node.http("/metrics")[1].splitlines() if line.startswith("belay_copies_slots_not_level")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


if __name__ == "__main__":
    run_cases(__name__)
