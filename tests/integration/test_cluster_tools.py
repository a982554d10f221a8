"""The tools and a cluster of three: import, and belay-bench in both languages; commands on many keys, and transactions, at
every node. One of the nodes dies in the middle of a recorded load: nothing that was acknowledged is lost."""

import json
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cases import run_cases
from cluster import Cluster
from daemon import check, wait_for
from load import Load, audit
from redis_kit import Client, Redis, port_of

PROTOCOLS = ("native", "resp")


@contextmanager
def three():
    with Cluster(3) as cluster:
        yield cluster.start()


def bench(node, protocol, *words, expect=0):
    return node.run("belay-bench", words[0], *words[1:], "--protocol", protocol, expect=expect)


def test_import():
    """Sessions of a Redis, imported through one node, are at every one, with their deadlines; once more changes nothing."""
    with three() as cluster, Redis() as redis, ExitStack() as stack:
        source = stack.enter_context(Client(redis.port))
        clients = [stack.enter_context(Client(port_of(node))) for node in cluster]
        for number in range(600):
            source.ask("SET", f"s:{number}", f"v{number}", "EX", 3600)
            source.ask("HSET", f"h:{number}", "a", number, "b", "x" * 100)
        source.ask("ZADD", "z", 1.5, "m")
        source.ask("SADD", "set", "a", "b")
        for _ in range(2):
            done = json.loads(cluster[1].run("belayctl", "import", f"redis://127.0.0.1:{redis.port}", "--json"))
            check(done["sample"]["keys"] == done["sample"]["same"] > 0, done)
            for client in clients:
                check(client.ask("DBSIZE") == 1202, "all are there")
                check(client.ask_all(("GET", f"s:{number}") for number in range(600)) ==
                      [b"v%d" % number for number in range(600)], "strings")
                check(all(3500 < left <= 3600 for left in client.ask_all(("TTL", f"s:{number}") for number in range(600))), "TTL")
                check(client.ask_all(("HGET", f"h:{number}", "a") for number in range(600)) ==
                      [b"%d" % number for number in range(600)], "hashes")
                check(client.ask("ZSCORE", "z", "m") == b"1.5" and client.ask("SCARD", "set") == 2, "others")


def test_fill_and_check():
    """What one node was filled with in one language is checked at another one in the other."""
    with three() as cluster:
        for number, protocol in enumerate(PROTOCOLS):
            other = PROTOCOLS[1 - number]
            words = ("--sessions", 3000, "--prefix", f"{protocol}:")
            bench(cluster[number], protocol, "fill", *words)
            for node in cluster:
                check(bench(node, protocol, "check", *words) == "present=3000 lost=0 wrong=0\n", protocol)
            check(bench(cluster[2], other, "check", *words) == "present=3000 lost=0 wrong=0\n", other)


def entries(record):
    """How many are in it."""
    data = Path(record).read_bytes() if Path(record).exists() else b""
    return (len(data.rstrip(b"\0")) - 256) / 32


def test_audit():
    """A recorded load in either language, while another node than the one it was given is killed and comes back."""
    with three() as cluster, tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        for protocol in PROTOCOLS:
            record = Path(directory) / protocol
            load = Load(cluster[0], record, "--protocol", protocol, "--prefix", f"{protocol}:", "--reads", 20, "--rate", 2000,
                        "--connections", 6, "--keys", 5000)
            try:
                wait_for("it writes", lambda: entries(record) > 1000)
                victim = cluster[2]
                victim.kill()
                before = entries(record)
                wait_for("it goes on", lambda: entries(record) > before + 1000)
                cluster.restart(victim)
                before = entries(record)
                wait_for("it goes on", lambda: entries(record) > before + 1000)
            finally:
                said = load.kill()
            cluster.await_settled()
            for node in cluster:
                check(audit(node, record, "--protocol", protocol) > 1000, said)


def test_many_keys_and_transactions():
    """At every node, whoever has the keys: they are of many slots, or of one."""
    with three() as cluster, ExitStack() as stack:
        clients = [stack.enter_context(Client(port_of(node))) for node in cluster]
        for turn, client in enumerate(clients):
            keys = [f"k{turn}:{number}" for number in range(100)]
            check(client.ask("MSET", *(word for key in keys for word in (key, f"v{key}"))) == b"OK", "MSET")
            for other in clients:
                check(other.ask("MGET", *keys, "none") == [f"v{key}".encode() for key in keys] + [None], "MGET")
                check(other.ask("EXISTS", *keys, "none") == 100 and other.ask("TOUCH", *keys) == 100, "EXISTS")
            check(clients[turn - 1].ask("DEL", *keys[:50], "none") == 50, "DEL")
            check(clients[turn - 2].ask("UNLINK", *keys) == 50 and client.ask("DBSIZE") == 0, "UNLINK")
            tag = f"{{t{turn}}}"
            commands = [("MULTI",), ("SET", tag + "a", 1), ("INCR", tag + "a"), ("HSET", tag + "h", "f", "v"), ("MGET", tag + "a"),
                        ("EXEC",)]
            check(client.ask_all(commands)[-1] == [b"OK", 2, 1, [b"2"]], "MULTI")
            check(client.ask("WATCH", tag + "a") == b"OK", "WATCH")
            check(clients[turn - 1].ask("SET", tag + "a", "changed") == b"OK", "at another node")
            check(client.ask_all([("MULTI",), ("SET", tag + "a", "lost"), ("EXEC",)])[-1] is None, "EXEC after a change")
            check(client.ask("GET", tag + "a") == b"changed", "it did nothing")
            check(client.ask_all([("MULTI",), ("SET", "x", 1), ("SET", "y", 1), ("EXEC",)])[2].startswith(b"CROSSSLOT"), "slots")
            check(client.ask("DEL", tag + "a", tag + "h") == 2, "end")


if __name__ == "__main__":
    run_cases(__name__)
