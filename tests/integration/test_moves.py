"""RENAME in a cluster, between slots that different nodes coordinate: a session is under one of its keys, whoever dies."""

import itertools
import os
import random
import threading
import time

from cases import run_cases
from cluster import Cluster
from daemon import Failed, check, wait_for
from redis_kit import Client, Error, port_of

ROUNDS = int(os.environ.get("BELAY_MOVE_ROUNDS", "4")) # Nodes killed.
SETTINGS = ("storage.log_interval=1ms",)


def keys_of_primaries(cluster, prefix):
    """One key for each node that it owns first."""
    names = {}
    for number in itertools.count():
        owners = cluster[0].ask("session", "where", f"{prefix}:{number}")["owners"]
        names.setdefault(owners[0]["name"], f"{prefix}:{number}")
        if len(names) == len(cluster):
            return [names[name] for name in sorted(names)]


def test_what_redis_promises():
    """Through every node, and between all pairs of them."""
    with Cluster(3, settings=SETTINGS) as cluster:
        cluster.start()
        deadline = int(time.time() * 1000) + 777_000
        pairs = list(itertools.permutations(keys_of_primaries(cluster, "k"), 2))
        for node in cluster:
            with Client(port_of(node)) as client:
                for old, new in pairs:
                    check(client.ask("RENAME", old, new) == Error(b"ERR no such key"), "nothing to move")
                    check(client.ask("RENAMENX", old, new) == Error(b"ERR no such key"), "nothing to move")
                    client.ask("HSET", old, "a", 1, "b", 2)
                    check(client.ask("PEXPIREAT", old, deadline) == 1, "a deadline")
                    check(client.ask("RENAME", old, old) == b"OK", "itself")
                    check(client.ask("RENAMENX", old, old) == 0, "itself")
                    client.ask("SET", new, "there")
                    check(client.ask("RENAMENX", old, new) == 0, "there is one")
                    check(client.ask("HGET", old, "b") == b"2" and client.ask("GET", new) == b"there", "both stay")
                    check(client.ask("RENAME", old, new) == b"OK", "over it")
                    check(client.ask("EXISTS", old) == 0, "only one")
                    check(client.ask("HGETALL", new) == [b"a", b"1", b"b", b"2"], "all of it")
                    check(client.ask("PEXPIRETIME", new) == deadline, "its deadline")
                    shown = node.ask("session", "inspect", old)
                    check((shown["live"], shown["renamed"]) == (False, True), shown)
                    check(client.ask("DEL", old) == 0 and client.ask("EXISTS", new) == 1, "nothing is there")
                    client.ask("SET", old, "again")
                    check(client.ask("DEL", old) == 1 and client.ask("EXISTS", new) == 1, "another session")
                    check(client.ask("RENAMENX", new, old) == 1, "back")
                    check(client.ask("HINCRBY", old, "a", 41) == 42, "it goes on")
                    client.ask("DEL", old)
                check(client.ask("DBSIZE") == 0, "no trace of it")


def test_a_clean_restart():
    """The life of a node goes on after it; a rename is another one all the same."""
    with Cluster(2, settings=SETTINGS, shards=1) as cluster:
        cluster.start()
        live = keys_of_primaries(cluster, "live")[1]
        for value in ("first", "second", "third"):
            old = keys_of_primaries(cluster, value)[0]
            with Client(port_of(cluster[0])) as client:
                client.ask("SET", old, value)
                check(client.ask("RENAME", old, live) == b"OK", value)
                shown = client.ask("GET", live)
                check(shown == value.encode(), f"{shown}, not {value}")
            cluster[0].stop()
            cluster[0].start()
            cluster.await_settled()


def test_many_that_displace_nothing():
    """RENAMENX of the same few keys by several clients at once: no session takes another's place."""
    keys = [f"n{number}" for number in range(12)]
    values = {f"v{number}".encode() for number in range(8)}
    with Cluster(3, settings=SETTINGS) as cluster:
        cluster.start()
        with Client(port_of(cluster[0])) as client:
            for key, value in zip(keys, sorted(values)):
                client.ask("SET", key, value)

        def rename_all(seed):
            chance = random.Random(seed)
            with Client(port_of(cluster[seed % 3])) as client:
                for _ in range(1500):
                    client.ask("RENAMENX", *chance.sample(keys, 2))

        threads = [threading.Thread(target=rename_all, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Client(port_of(cluster[0])) as client:
            found = [value for value in (client.ask("GET", key) for key in keys) if value is not None]
            check(sorted(found) == sorted(values), found)


def test_who_begins_meanwhile():
    """SETNX and GETDEL of keys that RENAMENX comes and goes by: what was begun is there until it was taken, once."""
    keys = [f"b{number}" for number in range(6)]
    begun, taken, wrong, lock = set(), [], [], threading.Lock()
    with Cluster(3, settings=SETTINGS) as cluster:
        cluster.start()

        def rename_all(seed):
            chance = random.Random(seed)
            with Client(port_of(cluster[seed % 3])) as client:
                for _ in range(1500):
                    client.ask("RENAMENX", *chance.sample(keys, 2))

        def begin_all(seed):
            chance = random.Random(seed)
            with Client(port_of(cluster[seed % 3])) as client:
                for number in range(3000):
                    value = f"{seed}.{number}".encode()
                    answer = client.ask("SETNX", chance.choice(keys), value)
                    found = client.ask("GETDEL", chance.choice(keys)) if chance.random() < 0.3 else None
                    told = answer in (0, 1) or (isinstance(answer, Error) and answer.startswith(b"BUSY"))
                    with lock:
                        wrong.extend([] if told else [answer])
                        begun.update([value] if answer == 1 else [])
                        taken.extend([] if found is None else [bytes(found)])

        threads = [threading.Thread(target=rename_all, args=(seed,)) for seed in range(4)]
        threads += [threading.Thread(target=begin_all, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Client(port_of(cluster[0])) as client:
            found = [value for value in (client.ask("GET", key) for key in keys) if value is not None]
        check(not wrong, wrong)
        check(sorted(found + taken) == sorted(begun), (sorted(found), len(taken), len(begun)))


class Mover(threading.Thread):
    """Renames sessions of its own, each again and again, through whichever node answers."""

    def __init__(self, cluster, name, count):
        super().__init__()
        self.cluster, self.name, self.stop = cluster, name, threading.Event()
        self.keys = {f"{name}-{number}": [f"{name}-{number}"] for number in range(count)} # The last one is the present.
        self.doubtful, self.moved, self.failed = set(), 0, None

    def run(self):
        try:
            for turn in itertools.count():
                if self.stop.is_set():
                    return
                running = self.cluster.running()
                try:
                    with Client(port_of(running[turn % len(running)])) as client:
                        self.move(client)
                except (OSError, IndexError, Failed):
                    time.sleep(0.01)
        except Exception as failure: # It is told by who joins.
            self.failed = failure

    def move(self, client):
        for _ in range(200):
            for value, keys in self.keys.items():
                if self.stop.is_set():
                    return
                if value in self.doubtful:
                    continue
                new = f"{self.name}.{self.moved}.{value}"
                keys.append(new)
                self.doubtful.add(value)
                answer = client.ask("RENAME", keys[-2], new)
                if answer == b"OK":
                    self.doubtful.discard(value)
                    self.moved += 1
                elif isinstance(answer, Error) and b"no such key" in answer:
                    raise AssertionError(f"{keys[-2]} was acknowledged, and is not there")


def is_level(cluster):
    """What one of them had alone, the others have too: the next may die."""
    if not cluster.is_active():
        return False
    statuses = [node.ask_or_none("status") for node in cluster]
    return all(status is not None and status["cluster"]["slots_not_level"] == 0 for status in statuses)


def where(client, keys):
    """Which of them are there, and their values."""
    return {key: client.ask("GET", key) for key in keys if client.ask("EXISTS", key) == 1}


def is_once(cluster, value, keys):
    """Every node says that it is under one of the last two keys, and under no other."""
    for node in cluster:
        with Client(port_of(node)) as client:
            found = where(client, keys)
            if list(found.values()) != [value.encode()] or next(iter(found)) not in keys[-2:]:
                return False
    return True


def await_once(cluster, movers):
    for mover in movers:
        for value, keys in mover.keys.items():
            wait_for(f"{value} is under one of {keys[-3:]}",
                     lambda value=value, keys=keys: is_once(cluster, value, keys), 60)
            if value not in mover.doubtful:
                with Client(port_of(cluster[0])) as client:
                    check(client.ask("EXISTS", keys[-1]) == 1, f"{value} was acknowledged as {keys[-1]}")


def test_killed_nodes():
    """Nodes die, each in its turn, while sessions are renamed: each is under one key then, never two, never none."""
    with Cluster(3, settings=SETTINGS) as cluster:
        cluster.start()
        movers = [Mover(cluster, f"m{number}", 40) for number in range(3)]
        with Client(port_of(cluster[0])) as client:
            for mover in movers:
                for value in mover.keys:
                    client.ask("SET", value, value)
        for mover in movers:
            mover.start()
        try:
            for round_number in range(ROUNDS):
                node = cluster[round_number % len(cluster)]
                before = [mover.moved for mover in movers]
                wait_for("sessions move", lambda before=before: all(
                    mover.moved > count + 20 or len(mover.doubtful) == len(mover.keys) or mover.failed
                    for mover, count in zip(movers, before)))
                node.kill()
                time.sleep(0.3)
                cluster.restart(node)
                wait_for("all have all again", lambda: is_level(cluster))
        finally:
            for mover in movers:
                mover.stop.set()
            for mover in movers:
                mover.join()
        for mover in movers:
            check(mover.failed is None, mover.failed)
        check(sum(len(mover.doubtful) for mover in movers) > 0, "no rename was cut short")
        cluster.await_settled()
        await_once(cluster, movers)
        for node in cluster: # And so it stays.
            node.kill()
        cluster.start()
        await_once(cluster, movers)


if __name__ == "__main__":
    run_cases(__name__)
