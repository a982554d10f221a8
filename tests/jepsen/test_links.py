"""Packets between nodes vanish, and their links stay: a write is answered, as what it is, before they are given up, and is not
lost with a node that is taken out after that."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import native
from cases import run_cases
from daemon import check, wait_for
from rig import net
from rig.nodes import net_cluster

WRITERS = 20
REPLICA, DISK = 2, 3 # Of enum ack_level...
ACK = 3 # ... which this field of a reply has.


def show_levels():
    network = net.Network()
    with net_cluster(network, 2, settings=["cluster.link_silent=10s"]) as cluster:
        cluster.start()
        with native.Connection(cluster[0].native) as connection:
            keys = [f"k{i}".encode() for i in range(100)]
            key = next(key for key in keys if primary_of(cluster, key) == "n1")
            # Its thread may hear of the other owner a little later.
            wait_for("a write has a copy", lambda: connection.put(key, b"1", REPLICA).get(ACK) == REPLICA)
            before = unheeded(cluster[0])
            network.cut(net.both_ways(["n1"], ["n2"]))
            check(connection.put(key, b"2", REPLICA).get(ACK) == DISK, "cut")
            check(unheeded(cluster[0]) == before + 1, "it was not the link that ended")
            network.heal()
            cluster.await_settled()


def show_drained():
    """A node drains while it is cut off, takes writes and ends sessions, and dies: when it is back it has left at once, as others own
    all that it had; but it alone has what it took, and is drained only when others have that, too."""
    network = net.Network()
    with net_cluster(network, 3, settings=["cluster.cooldown=1ms"]) as cluster:
        cluster.start()
        first, drained = cluster[0], cluster[2]
        with native.Connection(first.native) as connection:
            for key in (key for writer in range(WRITERS) for key in keys_of("e", writer)):
                connection.put(key, b"1", REPLICA)
        network.cut(net.both_ways(["n3"], ["n1", "n2"]))
        first.run("belayctl", "node", "drain", "n3")
        with ThreadPoolExecutor(WRITERS) as pool:
            ends = pool.map(lambda writer: end(drained, writer), range(WRITERS))
            taken = sum(pool.map(lambda writer: write(drained, writer), range(WRITERS)), [])
            ended = sum(ends, [])
        check(len(taken) > WRITERS and len(ended) > WRITERS, f"{len(taken)} writes, and {len(ended)} ends, were taken")
        wait_for("it is down", lambda: cluster.states(first)["n3"] == "down")
        drained.kill()
        network.heal()
        cluster.launch(drained)
        wait_for("it has left", lambda: cluster.states(first)["n3"] == "left")
        drained.await_ready()
        first.run("belayctl", "node", "drain", "n3", "--wait")
        drained.kill()  # It may be lost now, with all that it has.
        with native.Connection(first.native) as connection:
            lost = [key for key in taken if connection.get(key) is None]
            back = [key for key in ended if connection.get(key) is not None]
        check(not lost, f"{len(lost)} of {len(taken)} acknowledged writes are lost")
        check(not back, f"{len(back)} of {len(ended)} sessions that were ended there are back")


def keys_of(prefix, writer):
    return [f"{prefix}{writer}-{number}".encode() for number in range(5)]


def done(node, keys, do):
    """For which of them it did that, with a copy or not."""
    taken = []
    with native.Connection(node.native) as connection:
        for key in keys:
            try:
                do(connection, key)
            except RuntimeError:  # Its owners cannot be reached.
                continue
            taken.append(key)
    return taken


def write(node, writer):
    return done(node, keys_of("w", writer), lambda connection, key: connection.put(key, b"1"))


def end(node, writer):
    return done(node, keys_of("e", writer), lambda connection, key: connection.end(key))


def unheeded(node):
    _, text, _ = node.http("/metrics")
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("belay_copies_unheeded_total"))


def primary_of(cluster, key):
    return cluster[0].ask("session", "where", key.decode())["owners"][0]["name"]


def is_shown(name):
    shown = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=False)
    check(shown.returncode == 0, shown.stdout + shown.stderr)


def test_levels():
    is_shown("show_levels")


def test_drained():
    is_shown("show_drained")


if __name__ == "__main__":
    SHOWN = {"show_levels": show_levels, "show_drained": show_drained}
    if sys.argv[1:] and sys.argv[1] in SHOWN:
        if not net.is_inside():
            sys.exit(net.enter())
        SHOWN[sys.argv[1]]()
        sys.exit(0)
    if net.missing() is not None:
        print(net.missing())
        sys.exit(77) # Skipped, which CI does not take.
    run_cases(__name__)
