"""Transactions of Redis clients: whole or not at all, and with all that may be queued."""

import os
import random
import threading
import time

from aspnet_scripts import HASHES, STRINGS
from cases import long_but_for_threads, run_cases
from daemon import SLOWNESS, Daemon, Failed, check
from redis_kit import Client, Error, Redis, port_of


def scan(client):
    return client.ask("SCAN", 0, "COUNT", 1000)[1]


@long_but_for_threads
def test_watched_counter():
    """WATCH, GET, MULTI, SET, EXEC of many clients: each success counts once."""
    clients, successes = 20, int(10000 / SLOWNESS)
    with Daemon(shards=2) as daemon:
        daemon.start()
        left = threading.Semaphore(successes)
        failures = []

        def count():
            with Client(port_of(daemon)) as client:
                while left.acquire(blocking=False):  # pylint: disable=consider-using-with
                    while True:
                        client.ask("WATCH", "counter")
                        value = int(client.ask("GET", "counter") or 0)
                        client.send("MULTI")
                        client.send("SET", "counter", value + 1)
                        client.send("EXEC")
                        answers = [client.read() for _ in range(3)]
                        if answers[2] is not None:
                            check(answers == [b"OK", b"QUEUED", [b"OK"]], answers)
                            break
                        failures.append(1)
        threads = [threading.Thread(target=count) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Client(port_of(daemon)) as client:
            check(client.ask("GET", "counter") == b"%d" % successes, client.ask("GET", "counter"))
        check(failures, "nobody ever came too late")


def test_transactions_survive_whole():
    """kill -9 at any time: of what a transaction writes all is there, or nothing."""
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with Daemon(shards=2, settings=("storage.log_interval=1ms",)) as daemon:
        last = {}
        for life in range(4):
            daemon.start()
            with Client(port_of(daemon)) as client:
                for user in range(20):
                    found = client.ask("MGET", *(f"{{u{user}}}{part}" for part in "abc"))
                    check(len(set(found)) == 1, f"life {life}: {found}")
                    last[user] = int(found[0] or 0)
            stop = threading.Event()

            def write(user):
                try:
                    with Client(port_of(daemon)) as client:
                        while not stop.is_set():
                            last[user] += 1
                            client.send("MULTI")
                            for part in "abc":
                                client.send("SET", f"{{u{user}}}{part}", last[user])
                            client.send("EXEC")
                            for _ in range(5):
                                client.read()
                except (OSError, Failed):
                    pass
            writers = [threading.Thread(target=write, args=(user,)) for user in range(20)]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.2, 0.6))
            daemon.kill()
            stop.set()
            for writer in writers:
                writer.join()


def test_transactions_in_one_slot():
    with Daemon(shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("MULTI") == b"OK", "begun")
            check(client.ask("SET", "a", 1) == b"QUEUED", "queued")
            check(client.ask("SET", "b", 1).startswith(b"CROSSSLOT"), "another slot")
            check(client.ask("EXEC").startswith(b"EXECABORT"), "nothing of it")
            check(client.ask("EXISTS", "a", "b") == 0, "nothing of it")
            check(client.ask("WATCH", "a", "b").startswith(b"CROSSSLOT"), "nor watched")
            client.ask("UNWATCH")
            for i in range(130):
                client.send("MULTI" if i == 0 else "SET", *([] if i == 0 else [f"{{t}}{i}", "v"]))
            answers = [client.read() for _ in range(130)]
            check(b"more than 128 keys" in answers[-1], answers[-1])
            check(client.ask("EXEC").startswith(b"EXECABORT"), "nothing of it")
            client.ask("MULTI")
            for i in range(128):
                client.send("SET", f"{{t}}{i}", "v" * 20_000)
            check({client.read() for _ in range(128)} == {b"QUEUED"}, "all")
            check(b"larger than session_max_bytes" in client.ask("EXEC"), "2.5 MB")
            check(scan(client) == [], "nothing of it")


def test_requests_after_it_are_in_its_database():
    """All sent at once, to keys of all shards: what follows EXEC is read as EXEC left the connection."""
    with Daemon(shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            rounds = 200
            for i in range(rounds):
                database = i % 16
                for words in (("MULTI",), ("SELECT", database), ("SET", f"k{i}", i), ("CLIENT", "SETNAME", f"n{i}"), ("EXEC",),
                              ("GET", f"k{i}"), ("SET", f"after{i}", i), ("CLIENT", "GETNAME"), ("MGET", f"after{i}", f"k{i}")):
                    client.send(*words)
            for i in range(rounds):
                value = b"%d" % i
                answers = [client.read() for _ in range(9)]
                check(answers == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"OK"] * 3, value, b"OK", b"n" + value, [value, value]],
                      (i, answers))
            for database in range(16):
                client.ask("SELECT", database)
                wanted = {b"%s%d" % (name, i) for name in (b"k", b"after") for i in range(database, rounds, 16)}
                check(set(scan(client)) == wanted, database)


def test_scripts_on_several_keys():
    """The session state provider of ASP.NET between MULTI and EXEC: the same answers as in Redis, the same left."""
    lock, data, left = "{app_1}_Write_Lock", "{app_1}_Data", "{app_1}_Internal"

    def steps(texts, new, saved):
        def run(name, keys, *arguments):
            return ("EVAL", texts[name], len(keys), *keys, *arguments)
        three = (lock, data, left)
        return [("MULTI",), ("SET", "{app_1}", "before"), run("set", (data, left), *new), run("lock", three, "1", 90),
                run("read", three), ("GET", "{app_1}"), run("save", three, "1", 700, *saved), run("read", three),
                run("release", three, "1", 50), ("TTL", data), ("TYPE", data), run("lock", three, "2", 90), ("EXEC",),
                ("TTL", data), ("TTL", left), ("GET", lock),
                ("MULTI",), ("DEL", data), ("SADD", data, "of another type"), run("lock", three, "3", 60), ("SCARD", data),
                run("remove", three, "2"), ("EXISTS", *three), ("EXEC",), ("DEL", *three)]

    with Redis() as redis, Daemon(shards=3) as daemon:
        daemon.start()
        for some in (steps(STRINGS, ("the session", 1200), (0, 9, 8, 1, 9, 10, "SessionState", "changed")),
                     steps(HASHES, (6, 1200, "a", "1", "b", "2"), (1, 9, 9, 1, 10, 11, "a", "c", "3"))):
            for protocol in (2, 3):
                with Client(redis.port) as theirs, Client(port_of(daemon)) as ours:
                    theirs.ask("HELLO", protocol)
                    ours.ask("HELLO", protocol)
                    for step in some:
                        their, our = theirs.ask(*step), ours.ask(*step)
                        check(same(their, our), f"{step}: {their!r}, here {our!r}")
        with Client(port_of(daemon)) as client:
            client.ask("MULTI")
            answers = {client.ask("EVAL", STRINGS["set"], 2, "a", f"b{i}", "x", 1)[:9] for i in range(20)}
            check(b"CROSSSLOT" in answers, answers)
            check(client.ask("EXEC").startswith(b"EXECABORT"), "nothing of it")


def same(their, our):
    """Equal, but for the words of errors."""
    if isinstance(their, list) and isinstance(our, list):
        return len(their) == len(our) and all(map(same, their, our))
    return their == our or (isinstance(their, Error) and isinstance(our, Error))


def test_what_is_not_queued():
    """An error at once, and nothing of the transaction is done."""
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for words in (("SUBSCRIBE", "a"), ("PSUBSCRIBE", "a"), ("UNSUBSCRIBE", "a"), ("PUNSUBSCRIBE",), ("KEYS", "*"),
                          ("DBSIZE",), ("SCAN", 0), ("FLUSHALL",), ("FLUSHDB",), ("HELLO", 3), ("CLIENT", "REPLY", "off")):
                client.ask("MULTI")
                check(client.ask("SET", "never", "1") == b"QUEUED", "queued")
                check(client.ask(*words) == Error(b"ERR '%s' is not offered between MULTI and EXEC" % words[0].lower().encode()),
                      words)
                check(client.ask("EXEC").startswith(b"EXECABORT"), words)
            check(client.ask("EXISTS", "never") == 0 and client.ask("PUBSUB", "CHANNELS") == [], "nothing was done")


if __name__ == "__main__":
    run_cases(__name__)
