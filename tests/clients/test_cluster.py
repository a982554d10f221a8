"""Redis clients and a cluster: any node serves a plain one, and a cluster-aware one goes to the node of each key."""

import subprocess

from both import HERE
from cases import run_cases
from cluster import Cluster
from daemon import check, wait_for

PYTHON = "/usr/bin/python3"  # Debian's modules belong to it.


def cli_or_none(port, *words):
    """What redis-cli prints; None where it ends with an error."""
    done = subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, timeout=120,
                          check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def cli(port, *words):
    said = cli_or_none(port, *words)
    check(said is not None, words)
    return said


def has_all(port, count):
    """Does SCAN find so many keys? It fails where a node that it asks dies just then."""
    said = cli_or_none(port, "--scan", "--pattern", "k*")
    return said is not None and len(set(said.split())) == count


def port_of(node, word):
    return int(node.ready[word].rsplit(":", 1)[1])


def client(kind, cluster, word):
    ports = [str(port_of(node, word)) for node in cluster]
    done = subprocess.run([PYTHON, HERE / "client_cluster.py", kind, *ports], capture_output=True, text=True, timeout=300,
                          check=False)
    check(done.returncode == 0, f"{kind}: {done.stdout}{done.stderr}")


def test_clients():
    """A plain client of each node; a cluster-aware one; redis-cli -c, which follows MOVED."""
    with Cluster(3) as cluster:
        cluster.start()
        client("plain", cluster, "native")
        client("aware", cluster, "cluster")
        for number in range(20):
            port = port_of(cluster[number % 3], "cluster")
            check(cli(port, "-c", "set", f"cli:{number}", number).endswith("OK"), "redis-cli -c")
            check(cli(port_of(cluster[0], "native"), "get", f"cli:{number}") == str(number), "any node has it")
        moved = [cli(port_of(cluster[0], "cluster"), "get", f"cli:{number}") for number in range(20)]
        check(any("MOVED" in answer for answer in moved) and not all("MOVED" in answer for answer in moved), moved)


def test_lost_node():
    """What was acknowledged is there without the node, at every other one, also in SCAN; and writes go on."""
    with Cluster(3) as cluster:
        cluster.start()
        cluster.await_settled()
        first = port_of(cluster[0], "native")
        for number in range(60):
            check(cli(first, "set", f"k{number}", number) == "OK", "SET")
        cluster[2].kill()
        for node in cluster.running():
            port = port_of(node, "native")
            for number in range(60):
                wait_for(f"k{number} is read", lambda number=number, port=port: cli(port, "get", f"k{number}") == str(number))
            wait_for("SCAN has all", lambda port=port: has_all(port, 60))
            wait_for("a write", lambda port=port: cli(port, "set", "k7", "7") == "OK")


if __name__ == "__main__":
    run_cases(__name__)
