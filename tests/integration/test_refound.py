"""Nodes that decide are lost for good: one that is left founds the cluster anew, with what it has, and the rest follow."""

import os
import subprocess

from cases import run_cases
from cluster import Cluster
from daemon import check, wait_for

QUICK = ["cluster.heartbeat=100ms", "cluster.down_after=500ms", "cluster.cooldown=500ms"]


def put_all(cluster, count=60):
    """Sessions through all nodes in turn. Returns the keys."""
    keys = [f"key{number}" for number in range(count)]
    for number, key in enumerate(keys):
        cluster[number % len(cluster)].run("belayctl", "session", "put", key, "value")
    return keys


def has_all(node, keys):
    for key in keys:
        node.run("belayctl", "session", "get", key)


def await_voters(cluster, count):
    sample = f'belay_raft_members{{kind="voter"}} {count}\n'
    wait_for(f"{count} vote", lambda: all(sample in node.http("/metrics")[1] for node in cluster))


def found_anew(node, lost):
    """Start it so, once."""
    command = node.command
    node.command = lambda: [*command(), "--force-new-cluster", lost]
    try:
        node.launch()
    finally:
        node.command = command
    return node


def decides(node, prefix):
    """Does the map change?"""
    node.run("belayctl", "policy", "set", prefix, "idle_ttl=5m")
    check(node.ask("policy", "list")["policies"][prefix]["idle_ttl"] == "5m", "it did not")


def test_two():
    """The founder of two, which alone decided, does not come back. The other one goes on with all sessions, decides, and
    takes a new node in. The lost one is told, should it come back after all."""
    with Cluster(2, settings=QUICK) as cluster:
        cluster.start()
        keys = put_all(cluster)
        founder, other = cluster.nodes
        founder.kill()
        has_all(other, keys)
        said = other.run("belayctl", "policy", "set", "web:", "idle_ttl=5m", expect=None)
        check("idle_ttl" not in said, said)
        other.kill()
        found_anew(other, founder.name).await_ready()
        check("cluster-founded-anew without=n1" in other.log(), other.log())
        wait_for("it leads", lambda: other.ask("node", "list")["leader"] == 2)
        check(cluster.states(other) == {"n2": "active"}, cluster.states(other))
        has_all(other, keys)
        decides(other, "web:")
        founder.launch()
        check(founder.wait() == 3 and "was removed from" in founder.log(), founder.log())
        founder.wipe()
        cluster.restart(founder)
        cluster.await_settled()
        has_all(founder, keys)
        for node in cluster:
            node.kill()
        cluster.start()
        decides(founder, "shop:")
        other.kill()
        found_anew(other, "n7")
        check(other.wait() == 1 and "n7 is no member" in other.log(), other.log())


def test_rest_follows():
    """Three of the five that decide are lost. What the other two have is there, and both go on; one ran all the time."""
    with Cluster(5, settings=QUICK) as cluster:
        cluster.start()
        await_voters(cluster, 5)
        keys = put_all(cluster)
        lost, chosen, rest = cluster.nodes[:3], cluster[3], cluster[4]
        kept = [key for key in keys if set(cluster.owners(key.encode())) & {chosen, rest}]
        check(0 < len(kept) < len(keys), "no test")
        for node in lost:
            node.kill()
        chosen.kill()
        found_anew(chosen, "n1,n2,n3").await_ready()
        cluster.await_settled()
        wait_for("both are all", lambda: set(cluster.states(rest)) == set(cluster.states(chosen)) == {"n4", "n5"})
        for node in (chosen, rest):
            has_all(node, kept)
            decides(node, f"{node.name}:")
            node.run("belayctl", "session", "put", node.name, "value")


def test_refused():
    """Who can decide must; who is no member is not lost."""
    with Cluster(3, settings=QUICK) as cluster:
        cluster.start()
        await_voters(cluster, 3)
        chosen = cluster[1]
        chosen.kill()
        for lost, text in (("n3", "which is enough"), ("n1,n4", "n4 is no member"), ("n1,n2,n3", "n2 is this node"),
                           ("", "which is enough")):
            found_anew(chosen, lost)
            check(chosen.wait() == 1 and text in chosen.log(), chosen.log())
        chosen.start()
        cluster.await_settled()


def refused(node, lost, code, text, **environment):
    """It ends with that code and says why. `environment` is set for this start."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        found_anew(node, lost)
        check(node.wait() == code and text in node.log(), node.log())
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def test_misuse():
    """Where it makes no sense it is refused, says why, and changes nothing."""
    with Cluster(2, settings=QUICK) as cluster:
        cluster.start()
        keys = put_all(cluster)
        founder, other = cluster.nodes
        token = founder.ask("join-token")["token"]
        founder.kill()
        # Another process has the directory.
        twin = subprocess.run([*map(str, other.command()), "--force-new-cluster", "n1"], capture_output=True, text=True,
                              timeout=120, check=False)
        check(twin.returncode == 1 and "is in use by process" in twin.stderr, twin.stderr)
        has_all(other, keys)
        other.kill()
        refused(other, "n1", 2, "do not go together", BELAY_JOIN_TOKEN=token)
        # A directory with nothing in it, as where storage.dir is mistyped, stays so.
        stranger = cluster.add("n3")
        refused(stranger, "n1", 1, "holds no node")
        check(stranger.is_empty, list(stranger.data.iterdir()) if stranger.data.exists() else "")
        # A node that was always alone.
        stranger.start()
        stranger.run("belayctl", "session", "put", "of-its-own", "value")
        stranger.stop()
        for lost, text in (("n1", "n1 is no member"), ("n3", "n3 is this node"), ("", "which is enough")):
            refused(stranger, lost, 1, text)
        stranger.start()
        has_all(stranger, ["of-its-own"])
        stranger.stop()
        # Twice: the second time there is nobody to be lost.
        found_anew(other, "n1").await_ready()
        other.stop()
        refused(other, "n1", 1, "founded anew already")
        other.start()
        has_all(other, keys)
        decides(other, "web:")
        # A node that was removed.
        founder.launch()
        check(founder.wait() == 3, founder.log())
        refused(founder, "n2", 3, "was removed from its cluster")


def test_map_lost():
    """The map of a node alone is lost, or damaged, with all sessions whole beside it. It does not start, and says how it does: it goes on
    as a cluster of its own, decides, and takes other nodes in."""
    with Cluster(1, settings=QUICK) as cluster:
        cluster.start()
        node = cluster[0]
        keys = put_all(cluster)
        file = node.data / "raft" / "data.mdb"
        epoch = node.ask("node", "list")["epoch"]
        for harm in (file.unlink, lambda: file.write_bytes(bytes(file.stat().st_size))):
            check(node.stop() == 0, node.log())
            harm()
            node.launch()
            check(node.wait() == 1 and "once with --force-new-cluster ''" in node.log(), node.log())
            refused(node, "n2", 1, "once with --force-new-cluster ''")
            found_anew(node, "").await_ready()
            has_all(node, keys)
            check(node.ask("node", "list")["epoch"] > epoch + (1 << 20) - 10, "ahead of all that was")
            decides(node, "web:")
            check(node.stop() == 0, node.log())
            refused(node, "", 1, "which is enough")
            node.start()
            has_all(node, keys)
        check((node.data / "raft.damaged" / "data.mdb").exists(), "what was damaged is kept")
        cluster.add("n2")
        cluster.start()
        numbers = [row["number"] for row in node.ask("node", "list")["nodes"]]
        check(numbers[0] == 1 and numbers[1] > 200, numbers)  # None that a node had that is not known any more.


def test_two_found_anew():
    """Told to two of those that are left, against the advice: once they meet they are one cluster again, with all sessions."""
    with Cluster(5, settings=QUICK) as cluster:
        cluster.start()
        await_voters(cluster, 5)
        numbers = {row["name"]: row["number"] for row in cluster[0].ask("node", "list")["nodes"]}
        less, more = left = sorted(cluster.nodes[3:], key=lambda node: numbers[node.name])

        def leads(node, leader):
            return node.ask("node", "list")["leader"] == numbers[leader.name]

        def put(node):
            """A session of which it is an owner."""
            key = next(key for key in (f"of-{node.name}-{number}" for number in range(1000))
                       if node.name in [owner["name"] for owner in node.ask("session", "where", key)["owners"]])
            wait_for("it serves it", lambda: node.ask_or_none("session", "put", key, "value"))
            return key

        for node in cluster:
            node.kill()
        found_anew(less, "n1,n2,n3").await_ready()
        wait_for("the one leads", lambda: leads(less, less))
        decides(less, "less:")
        keys = [put(less)]
        less.stop()
        found_anew(more, "n1,n2,n3").await_ready()
        wait_for("the other leads", lambda: leads(more, more))
        decides(more, "more:")
        keys.append(put(more))
        less.start()
        wait_for("both follow the greater", lambda: leads(less, more) and leads(more, more))
        cluster.await_settled()
        for node in left:
            check(cluster.states(node) == {"n4": "active", "n5": "active"}, cluster.states(node))
            has_all(node, keys)
            policies = node.ask("policy", "list")["policies"]
            check("more:" in policies and "less:" not in policies, policies)
            decides(node, f"{node.name}:")


if __name__ == "__main__":
    run_cases(__name__)
