"""python3-redis and a cluster, for test_cluster.py: a plain client of each node, and the cluster-aware one.

    client_cluster.py plain PORT...     the native ports
    client_cluster.py aware PORT...     the ports for cluster-aware clients
"""

import sys

import redis
from redis.cluster import ClusterNode, RedisCluster

KEYS = 300


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def plain(ports):
    """Each node is the whole store."""
    nodes = [redis.Redis(port=port, socket_timeout=60) for port in ports]
    for number in range(KEYS):
        nodes[number % len(nodes)].set(f"plain:{number}", number)
    wanted = {f"plain:{number}".encode() for number in range(KEYS)}
    for node in nodes:
        check(set(node.scan_iter("plain:*")) == wanted, "SCAN")
        check(set(node.keys("plain:*")) == wanted, "KEYS")
        check(node.dbsize() == KEYS, "DBSIZE")
        check(node.mget("plain:1", "plain:2", "none", "plain:3") == [b"1", b"2", None, b"3"], "MGET")
    with nodes[0].pipeline() as pipe:
        pipe.set("{tag}1", "a").incr("{tag}2").get("{tag}1")
        check(pipe.execute() == [True, 1, b"a"], "MULTI")
    for number, node in enumerate(nodes):
        check(node.get("{tag}1") == b"a", "what a transaction wrote")
        check(node.rename(f"plain:{number}", f"renamed:{number}"), "RENAME")
        check(nodes[0].get(f"plain:{number}") is None and nodes[-1].get(f"renamed:{number}") == b"%d" % number, "renamed")
    listeners = [node.pubsub() for node in nodes]
    for listener in listeners:
        listener.subscribe("news")
        check(listener.get_message(timeout=60)["type"] == "subscribe", "SUBSCRIBE")
    for node in nodes:
        check(node.publish("news", "x") == len(nodes), "PUBLISH counts all")
        check(node.pubsub_numsub("news", "none") == [(b"news", len(nodes)), (b"none", 0)], "PUBSUB NUMSUB counts all")
        check(node.pubsub_channels() == [b"news"] and node.pubsub_numpat() == 0, "PUBSUB tells of all")
    for listener in listeners:
        for _ in nodes:
            message = listener.get_message(timeout=60)
            check(message is not None and message["data"] == b"x", "a message of each node")


def aware(ports):
    """The client finds the nodes by one of them, and the node of each key by itself."""
    cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", ports[0])], socket_timeout=60)
    check(len(cluster.get_primaries()) == len(ports), cluster.get_nodes())
    check({node.port for node in cluster.get_nodes()} == set(ports), "it knows all ports")
    for number in range(KEYS):
        check(cluster.set(f"aware:{number}", number), "SET")
    for number in range(KEYS):
        check(cluster.get(f"aware:{number}") == b"%d" % number, "GET")
    found = {cluster.get_node_from_key(f"aware:{number}").port for number in range(KEYS)}
    check(found == set(ports), "the keys lie on all nodes")
    check(cluster.mset_nonatomic({f"many:{number}": number for number in range(20)}), "MSET")
    check(cluster.mget_nonatomic("many:1", "many:19", "none") == [b"1", b"19", None], "MGET")
    with cluster.pipeline() as pipe:
        pipe.set("a", 1).set("b", 2).get("a").get("b")
        check(pipe.execute() == [True, True, b"1", b"2"], "a pipeline over nodes")
    check(cluster.cluster_info()["cluster_state"] == "ok", "CLUSTER INFO")
    check(cluster.cluster_keyslot("foo") == 12182, "CLUSTER KEYSLOT")
    check(cluster.delete("a") == 1, "DEL")
    wanted = {b"aware:%d" % number for number in range(KEYS)}
    check(sorted(cluster.scan_iter("aware:*", target_nodes="primaries")) == sorted(wanted), "SCAN gives each once")
    check(sorted(cluster.keys("aware:*", target_nodes="primaries")) == sorted(wanted), "KEYS gives each once")
    everything = list(cluster.scan_iter("*", target_nodes="primaries"))
    check(cluster.dbsize(target_nodes="primaries") == len(everything) == len(set(everything)), "DBSIZE counts each once")
    slot = cluster.cluster_keyslot("{tag}")
    check(cluster.mset({f"{{tag}}{number}": 1 for number in range(5)}), "MSET of one slot")
    check(cluster.cluster_countkeysinslot(slot) == 5, "COUNTKEYSINSLOT")
    check(set(cluster.cluster_get_keys_in_slot(slot, 3)) < {f"{{tag}}{number}" for number in range(5)}, "GETKEYSINSLOT")
    copies(ports)


def copies(ports):
    """A client that may read copies does: half of the keys at a node that is not their primary."""
    cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", ports[0])], socket_timeout=30, read_from_replicas=True)
    check(len(cluster.get_primaries()) == len(ports) and not cluster.get_replicas(), "each node is a primary")
    asked = set()
    for number in range(KEYS):
        key = f"aware:{number}"
        slot = cluster.keyslot(key)
        nodes = cluster.nodes_manager.slots_cache[slot]
        for _ in nodes:
            asked.add(cluster.nodes_manager.get_node_from_slot(slot, True).port)
            check(cluster.get(key) == b"%d" % number, "GET of a copy")
        check(len(nodes) <= 2, "two owners")
    check(len([slot for slot in range(16384) if len(cluster.nodes_manager.slots_cache[slot]) == 2]) >= 16384 - 2 * len(ports),
          "it knows the copies")
    check(asked == set(ports), "all are asked")
    check(cluster.set("aware:1", "x") and cluster.get("aware:1") in (b"1", b"x"), "writes go on")


if __name__ == "__main__":
    {"plain": plain, "aware": aware}[sys.argv[1]]([int(port) for port in sys.argv[2:]])
