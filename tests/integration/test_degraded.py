"""The disk of one node of a cluster is full: the others take its part, also of the writes, until there is room again."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from cases import run_cases
from cluster import Cluster, Node
from daemon import check, wait_for
from redis_kit import Client, port_of

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

            def is_known():
                writer.write(100)
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


def not_level(node):
    lines = [line for line in node.http("/metrics")[1].splitlines() if line.startswith("belay_copies_slots_not_level")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


if __name__ == "__main__":
    run_cases(__name__)
