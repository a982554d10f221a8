"""RENAME between shards: one session at any moment, whatever else is asked, and also over a crash."""

import binascii
import itertools
import threading
import time

from cases import long, run_cases
from daemon import Daemon, Failed, check, wait_for
from redis_kit import Client, Error, port_of

SETTINGS = ("storage.log_interval=1ms",)


def keys_of_all_shards(client, count):
    """Names whose neighbours are of different shards, as CLUSTER KEYSLOT would tell: slot modulo shards."""
    names, wanted = [], 0
    for i in itertools.count():
        name = f"{client}:{i}"
        if binascii.crc_hqx(name.encode(), 0) % 16384 % 3 == wanted % 3:
            names.append(name)
            wanted += 1
        if len(names) == count:
            return names


def test_everything_moves():
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            old, new, other = keys_of_all_shards("move", 3)
            client.ask("HSET", old, *itertools.chain(*((f"field{i}", f"value{i}") for i in range(3000))))
            client.ask("HEXPIRE", old, 500, "FIELDS", 1, "field1")
            client.ask("HSETEX", old, "EX", 500, "FIELDS", 1, "short", "lived")
            client.ask("PEXPIREAT", old, int(time.time() * 1000) + 777_000)
            before = client.ask("HGETALL", old), client.ask("PEXPIRETIME", old)
            check(client.ask("SET", new, "what was there") == b"OK", "of another type")
            check(client.ask("RENAMENX", old, new) == 0, "there is one")
            check(client.ask("RENAME", old, new) == b"OK", "moved")
            check((client.ask("HGETALL", new), client.ask("PEXPIRETIME", new)) == before, "the same session")
            check(client.ask("EXISTS", old) == 0, "and only that")
            check(client.ask("RENAMENX", new, other) == 1, "there is none")
            check((client.ask("HGETALL", other), client.ask("PEXPIRETIME", other)) == before, "the same session again")
            check(client.ask("RENAME", old, new) == Error(b"ERR no such key"), "nothing to move")
            check(client.ask("EXISTS", old, new) == 0, "nor made")
            client.ask("DEL", other)
            for make, read in ((("SADD", old, "a", "b", ""), ("SCARD", new)),
                               (("ZADD", old, "1.5", "a", "-inf", "b"), ("ZRANGE", new, 0, -1, "WITHSCORES")),
                               (("SET", old, "x" * 1_000_000), ("GET", new)),
                               (("INCRBY", old, 41), ("INCR", new))):
                client.ask(*make)
                check(client.ask("PTTL", old) == -1, "for ever")
                check(client.ask("RENAME", old, new) == b"OK", make[0])
                check(client.ask("PTTL", new) == -1, "still")
                answer = client.ask(*read)
                check(answer in (3, [b"b", b"-inf", b"a", b"1.5"], b"x" * 1_000_000, 42), (make[0], answer))
            check(client.ask("SCAN", 0, "COUNT", 100) == [b"0", [new.encode()]], "no trace of it")


def test_databases_and_errors():
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            old, new = keys_of_all_shards("base", 2)
            client.ask("SELECT", 3)
            client.ask("SET", old, "three")
            check(client.ask("RENAME", old, new) == b"OK", "within its database")
            client.ask("SELECT", 0)
            check(client.ask("EXISTS", old, new) == 0, "not in another")
            check(client.ask("RENAME", old, "n" * 513).startswith(b"ERR"), "too long")
            check(client.ask("RENAME", old, b"\x01r").startswith(b"ERR"), "reserved")
            check(client.ask("RENAME", old).startswith(b"ERR wrong number"), "one key")
            client.ask("SELECT", 3)
            check(client.ask("GET", new) == b"three", "still there")


def test_no_end_is_told():
    """A session that was renamed has not ended; what was in its place has, once."""
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, Client(port_of(daemon)) as listener:
            check(client.ask("CONFIG", "SET", "notify-keyspace-events", "EA") == b"OK", "events")
            listener.ask("PSUBSCRIBE", "__keyevent@*__:*")
            old, new, other = keys_of_all_shards("told", 3)
            client.ask("SET", old, 1)
            client.ask("SET", new, 2)
            client.ask("RENAME", old, other)
            client.ask("RENAME", other, new)
            client.ask("RENAME", new, "{%s}within" % new)
            client.ask("DEL", "{%s}within" % new)
            told = [listener.read()[2:] for _ in range(2)]
            check(told == [[b"__keyevent@0__:del", new.encode()],
                           [b"__keyevent@0__:del", b"{%s}within" % new.encode()]], told)
            check(client.ask("PUBLISH", "__keyevent@0__:end", "x") == 1 and listener.read()[3] == b"x", "nothing more")


def test_order_within_a_pipeline():
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            names = keys_of_all_shards("pipe", 40)
            client.send("SET", names[0], "0")
            for old, new in zip(names, names[1:]):
                client.send("RENAME", old, new)
                client.send("GET", old)
                client.send("INCR", new)
            client.send("GET", names[-1])
            check(client.read() == b"OK", "SET")
            for i in range(len(names) - 1):
                answers = [client.read() for _ in range(3)]
                check(answers == [b"OK", None, i + 1], (i, answers))
            check(client.read() == b"39", "at its end")


def test_somebody_always_sees_it():
    """A session goes from key to key; who follows it finds it at each moment, and never twice."""
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        names = keys_of_all_shards("seen", 600)
        moved = [0]
        problems = []

        def follow():
            with Client(port_of(daemon)) as client:
                at = 0
                while moved[0] < len(names) - 1 and not problems:
                    known = moved[0]
                    if client.ask("GET", names[at]) is not None:
                        if at > 0 and client.ask("GET", names[at - 1]) is not None:
                            problems.append(f"twice: {at}")
                    elif at < moved[0] + 1:
                        at += 1
                    else:
                        problems.append(f"nowhere: {at}, {known} to {moved[0]}")

        threads = [threading.Thread(target=follow) for _ in range(4)]
        with Client(port_of(daemon)) as client:
            client.ask("SET", names[0], "here")
            for thread in threads:
                thread.start()
            for i in range(len(names) - 1):
                check(client.ask("RENAME", names[i], names[i + 1]) == b"OK", i)
                moved[0] = i + 1
            for thread in threads:
                thread.join()
        check(not problems, problems[:3])


def test_both_ways_at_once():
    """Renames that want each other's keys all end, and nothing is made or lost by them."""
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        names = keys_of_all_shards("ways", 3)
        problems = []

        def rename(old, new):
            with Client(port_of(daemon)) as client:
                for _ in range(150):
                    answer = client.ask("RENAME", old, new)
                    if answer not in (b"OK", Error(b"ERR no such key")):
                        problems.append(answer)

        threads = [threading.Thread(target=rename, args=pair) for pair in itertools.permutations(names, 2)]
        with Client(port_of(daemon)) as client:
            client.ask("SET", names[0], "the one")
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            check(not problems, problems[:3])
            check([name for name in map(lambda name: client.ask("GET", name), names) if name] == [b"the one"], "one")


@long
def test_kill_in_the_middle():
    """Whenever the daemon dies, each session is under its old key or its new one; what was answered is so."""
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        places = {}
        for life in range(8):
            names = {i: keys_of_all_shards(f"life{life}-{i}", 400) for i in range(6)}
            acked = {}
            with Client(port_of(daemon)) as client:
                for i, chain in names.items():
                    client.ask("HSET", chain[0], "who", f"{life}-{i}")
                    acked[i] = 0

            def rename(i, chain, acked):
                try:
                    with Client(port_of(daemon)) as client:
                        for at in range(len(chain) - 1):
                            if client.ask("RENAME", chain[at], chain[at + 1]) != b"OK":
                                return
                            acked[i] = at + 1
                except (OSError, Failed):
                    pass

            threads = [threading.Thread(target=rename, args=(i, chain, acked)) for i, chain in names.items()]
            for thread in threads:
                thread.start()
            wait_for("renames", lambda acked=acked, least=5 + 3 * life: min(acked.values()) >= least)
            daemon.kill()
            for thread in threads:
                thread.join()
            daemon.start()
            with Client(port_of(daemon)) as client:
                for i, chain in names.items():
                    here = client.ask_all(("HGET", name, "who") for name in chain)
                    found = [at for at, who in enumerate(here) if who is not None]
                    check(found in ([acked[i]], [acked[i] + 1]), f"life {life}, {i}: {acked[i]} answered, is at {found}")
                    places[chain[found[0]]] = f"{life}-{i}".encode()
                here = client.ask_all(("HGET", name, "who") for name in places)
                for (name, who), found in zip(places.items(), here):
                    check(found == who, f"{name} of an earlier life")
                seen, cursor = [], b"0"
                while True:
                    cursor, some = client.ask("SCAN", cursor, "COUNT", 1000)
                    seen += some
                    if cursor == b"0":
                        break
                check(sorted(set(seen)) == sorted(name.encode() for name in places), "nothing else")


def test_another_number_of_shards():
    """What a crash left half done is found by whoever has it now."""
    with Daemon(settings=SETTINGS, shards=3) as daemon:
        daemon.start()
        for shards in (2, 5, 1, 3):
            names = keys_of_all_shards(f"to{shards}", 300)
            at = [0]

            def rename(names=names, at=at):
                try:
                    with Client(port_of(daemon)) as client:
                        client.ask("SET", names[0], "one")
                        for i in range(len(names) - 1):
                            client.ask("RENAME", names[i], names[i + 1])
                            at[0] = i + 1
                except (OSError, Failed):
                    pass

            thread = threading.Thread(target=rename)
            thread.start()
            wait_for("renames", lambda at=at: at[0] >= 10)
            daemon.kill()
            thread.join()
            daemon.settings = [setting for setting in daemon.settings if not setting.startswith("node.shards")]
            daemon.settings.append(f"node.shards={shards}")
            daemon.start()
            with Client(port_of(daemon)) as client:
                here = client.ask_all(("GET", name) for name in names)
                found = [i for i, value in enumerate(here) if value == b"one"]
                check(found in ([at[0]], [at[0] + 1]), (shards, at, found))


if __name__ == "__main__":
    run_cases(__name__)
