"""Nodes that decide are lost for good: one that is left founds the cluster anew, with what it has, and the rest follow."""

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


if __name__ == "__main__":
    run_cases(__name__)
