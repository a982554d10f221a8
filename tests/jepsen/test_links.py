"""Packets between two nodes vanish, and their links stay: a write is answered, as what it is, before they are given up."""

import subprocess
import sys

import native
from cases import run_cases
from daemon import check, wait_for
from rig import net
from rig.nodes import net_cluster

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


def unheeded(node):
    _, text, _ = node.http("/metrics")
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("belay_copies_unheeded_total"))


def primary_of(cluster, key):
    return cluster[0].ask("session", "where", key.decode())["owners"][0]["name"]


def test_levels():
    shown = subprocess.run([sys.executable, __file__, "show_levels"], capture_output=True, text=True, check=False)
    check(shown.returncode == 0, shown.stdout + shown.stderr)


if __name__ == "__main__":
    if sys.argv[1:] == ["show_levels"]:
        if not net.is_inside():
            sys.exit(net.enter())
        show_levels()
        sys.exit(0)
    if net.missing() is not None:
        print(net.missing())
        sys.exit(77) # Skipped, which CI does not take.
    run_cases(__name__)
