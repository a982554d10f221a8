"""Sessions of a cluster that end by themselves: subscribers at every node are told of each, exactly once while no node
fails, at least once otherwise."""

import random
import threading
from collections import Counter
from contextlib import contextmanager

from cases import long, run_cases
from cluster import NOBODY_FAILS, Cluster
from daemon import check, wait_for
from redis_kit import Client, port_of

SESSIONS = 3000
# On a busy machine a node that is slow is not one that fails.
CHANNEL = b"__keyevent@0__:expired"


class Listener:
    """Counts what one node's subscriber is told, until it is closed or its node dies."""

    def __init__(self, node):
        self.node = node
        self.told = Counter()
        self.client = Client(port_of(node))
        answer = self.client.ask("SUBSCRIBE", CHANNEL)
        check(answer == [b"subscribe", CHANNEL, 1], answer)
        self.client.socket.settimeout(None)
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        try:
            while True:
                message = self.client.read()
                check(message[:2] == [b"message", CHANNEL], message)
                self.told[message[2]] += 1
        except Exception:  # The stream has ended.
            return

    def close(self):
        try:
            self.client.socket.shutdown(2)
        except OSError:
            pass
        self.thread.join()
        self.client.__exit__()


@contextmanager
def listening(settings=()):
    """A cluster of three, and a listener at each node."""
    with Cluster(3, settings=["resp.notify_keyspace_events=Ex", *settings]) as cluster:
        cluster.start()
        listeners = [Listener(node) for node in cluster]
        try:
            yield cluster, listeners
        finally:
            for listener in listeners:
                listener.close()


def put(cluster, prefix, count, least_ms, most_ms):
    """Sessions with a deadline each, through all nodes in turn. Returns the keys."""
    choose = random.Random(7)
    keys = [f"{prefix}:{number}".encode() for number in range(count)]
    running = cluster.running()
    for number, node in enumerate(running):
        with Client(port_of(node)) as client:
            answers = client.ask_all(("SET", key, "v", "PX", choose.randrange(least_ms, most_ms))
                                     for key in keys[number::len(running)])
            check(all(answer == b"OK" for answer in answers), "SET")
    return keys


def missing(listener, keys):
    return [key for key in keys if listener.told[key] == 0]


def await_told(listeners, keys):
    for listener in listeners:
        wait_for(f"all are told at {listener.node.name}", lambda listener=listener: not missing(listener, keys), 120)


def barrier(cluster, listeners, name):
    """What was sent before is there: a session more is told of by each node's every shard."""
    await_told(listeners, put(cluster, name, 200, 100, 200))


@long
def test_exactly_once():
    """Each is told once to each subscriber, wherever it was written and whoever ends it, also while slots move to a new
    node: nobody fails."""
    with listening(NOBODY_FAILS) as (cluster, listeners):
        keys = put(cluster, "calm", SESSIONS, 500, 4000)
        await_told(listeners, keys)
        more = put(cluster, "moving", SESSIONS, 2000, 12000)
        cluster.restart(cluster.add("n4"))
        await_told(listeners, more)
        barrier(cluster, listeners, "after")
        for listener in listeners:
            twice = {key: times for key, times in listener.told.items() if times != 1}
            check(not twice, f"{listener.node.name}: {dict(list(twice.items())[:10])}, {len(twice)} in all")
            check(set(listener.told) >= set(keys + more), "told of all")


def test_at_least_once():
    """The primary of a third of them dies before their deadlines, or while they end: none is missed at the others."""
    with listening() as (cluster, listeners):
        keys = put(cluster, "lost", SESSIONS, 1500, 6000)
        wait_for("some have ended", lambda: len(listeners[0].told) > SESSIONS / 20)
        cluster[2].kill()
        await_told(listeners[:2], keys)


if __name__ == "__main__":
    run_cases(__name__)
