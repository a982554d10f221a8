"""Publish and subscribe of Redis clients: the answers are those of Redis, over all threads of a node."""

import os
import random
import threading
import time
from contextlib import ExitStack, contextmanager

from cases import long, run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, Error, Redis, port_of

SHARDS = 3
RELEASE = 'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'


@contextmanager
def both():
    """The ports of a redis-server and of a node with several threads."""
    with Redis() as redis, Daemon(shards=SHARDS) as daemon:
        daemon.start()
        yield [("redis", redis.port), ("belay", port_of(daemon))]


def ended(client):
    """Has the server closed it? What it sent before is read."""
    client.socket.settimeout(60)
    try:
        while client.file.read(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_same_answers_as_redis():
    """One connection, step by step, in both versions of the protocol."""
    steps = [
        ("SUBSCRIBE", "a"), ("SUBSCRIBE", "a"), ("PSUBSCRIBE", "a*", "b*"), ("PING",), ("PING", "x"), ("GET", "k"), ("ECHO", "x"),
        ("CLIENT", "REPLY", "ON"), ("Object", "Encoding", "k"), ("EXEC",), ("HELLO", "x"),
        ("PUBLISH", "a", "m"), ("SUBSCRIBE",), ("PING", "x", "y"), ("NOTHING", "x"), ("MULTI",), ("DBSIZE",),
        ("UNSUBSCRIBE", "none"), ("UNSUBSCRIBE", "a"), ("PUNSUBSCRIBE", "a*"), ("UNSUBSCRIBE",), ("PUNSUBSCRIBE",), ("PUNSUBSCRIBE",),
        ("GET", "k"), ("PING",), ("SUBSCRIBE", "a"), ("RESET",), ("GET", "k"), ("PUBSUB", "NUMSUB", "a", "b"), ("PUBSUB", "NUMSUB"),
        ("PUBSUB", "CHANNELS"), ("PUBSUB", "CHANNELS", "a*"), ("PUBSUB", "NUMPAT"), ("PUBSUB", "FOO"), ("PUBSUB",),
        ("PUBLISH", "nobody", "m"), ("PUBLISH", "x"), ("SUBSCRIBE", "", "\x01\xff"), ("UNSUBSCRIBE", "", "\x01\xff"),
    ]
    answers = {}
    with both() as servers:
        for version in (2, 3):
            for name, port in servers:
                with Client(port) as client:
                    if version == 3:
                        client.ask("HELLO", 3)
                    found = answers[name, version] = []
                    for step in steps:
                        if version == 3 and step[0] in ("MULTI", "DBSIZE", "PUBLISH", "EXEC"):
                            continue
                        if step == ("RESET",) and version == 3:
                            check(client.ask(*step) == b"RESET", "as new")
                            check(client.ask("HELLO", 3)[b"proto"] == 3, "again")
                            continue
                        client.send(*step)
                        several = "SUBSCRIBE" in step[0] and len(step) > 2
                        found.append((step, [client.read() for _ in range(len(step) - 1 if several else 1)]))
            for (step, theirs), (_, ours) in zip(answers["redis", version], answers["belay", version]):
                check(theirs == ours, f"RESP{version} {step}: {theirs!r}, here {ours!r}")


def subscribed(port, *words, version=2):
    client = Client(port)
    if version == 3:
        client.ask("HELLO", 3)
    client.send(*words)
    for _ in words[1:]:
        client.read()
    return client


def test_messages_reach_all_threads():
    """Connections lie on all threads; each gets what is published on any of them, once."""
    with both() as servers:
        for _, port in servers:
            with ExitStack() as stack:
                listeners = [stack.enter_context(subscribed(port, "SUBSCRIBE", "news", f"own{i}", version=2 + i % 2))
                             for i in range(4 * SHARDS)]
                patterns = [stack.enter_context(subscribed(port, "PSUBSCRIBE", "ne*", "*", version=2 + i % 2))
                            for i in range(SHARDS)]
                talkers = [stack.enter_context(Client(port)) for _ in range(2 * SHARDS)]
                check(talkers[0].ask("PUBSUB", "NUMSUB", "news", "own1", "none") ==
                      [b"news", len(listeners), b"own1", 1, b"none", 0], "who listens")
                check(sorted(talkers[0].ask("PUBSUB", "CHANNELS", "own[12]")) == [b"own1", b"own2"], "channels")
                check(len(talkers[0].ask("PUBSUB", "CHANNELS")) == 1 + len(listeners), "all channels")
                check(talkers[0].ask("PUBSUB", "NUMPAT") == 2, "patterns")
                for i, talker in enumerate(talkers):
                    count = talker.ask("PUBLISH", "news", f"m{i}")
                    check(count == len(listeners) + 2 * len(patterns), count)
                for i in range(len(talkers)):
                    for listener in listeners:
                        check(listener.read() == [b"message", b"news", b"m%d" % i], i)
                    for listener in patterns:
                        came = sorted([listener.read(), listener.read()])
                        check(came == [[b"pmessage", pattern, b"news", b"m%d" % i] for pattern in (b"*", b"ne*")], came)
                for i, listener in enumerate(listeners):
                    check(talkers[0].ask("PUBLISH", f"own{i}", "mine") == 1 + len(patterns), "one, and the pattern")
                    check(listener.read() == [b"message", b"own%d" % i, b"mine"], i)
                big = bytes(random.Random(1).randbytes(300_000))
                check(talkers[0].ask("PUBLISH", "own0", big) == 1 + len(patterns), "a large one")
                check(listeners[0].read() == [b"message", b"own0", big], "as it was")
                listeners[0].ask("UNSUBSCRIBE", "news")
                listeners[1].__exit__()
                wait_for("they have left", lambda: talkers[0].ask("PUBSUB", "NUMSUB", "news")[1] == len(listeners) - 2)


def test_same_order_for_all():
    """Several publish at once: all subscribers, whatever their thread, see the same order, and nothing twice or not at
    all; and each publisher's own order is kept."""
    each = 400
    with both() as servers:
        for name, port in servers:
            with ExitStack() as stack:
                listeners = [stack.enter_context(subscribed(port, "SUBSCRIBE", "c")) for _ in range(2 * SHARDS)]

                def talk(number, port=port):
                    with Client(port) as client:
                        for i in range(each):
                            client.send("PUBLISH", "c", f"{number}:{i}")
                        for i in range(each):
                            check(client.read() == 2 * SHARDS, "receivers")
                talkers = [threading.Thread(target=talk, args=(i,)) for i in range(3)]
                for talker in talkers:
                    talker.start()
                came = [[listener.read()[2] for _ in range(3 * each)] for listener in listeners]
                for talker in talkers:
                    talker.join()
                check(all(one == came[0] for one in came), f"{name}: the orders differ")
                for number in range(3):
                    mine = [int(text.split(b":")[1]) for text in came[0] if text.startswith(b"%d:" % number)]
                    check(mine == list(range(each)), f"{name}: of {number}")


def test_what_was_written_before_is_there():
    """SET and PUBLISH in one go: who gets the message finds the value, on whatever shard it is."""
    seed = int(os.environ.get("BELAY_SEED", random.randrange(1 << 30)))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with both() as servers:
        for _, port in servers:
            with subscribed(port, "SUBSCRIBE", "done") as listener, Client(port) as writer, Client(port) as reader:
                sent = 0
                for i in range(300):
                    writer.send("SET", f"k{i}", "v" * chance.choice((1, 100, 20_000)))
                    writer.send("PUBLISH", "done", f"k{i}")
                    sent += 2
                for i in range(300):
                    check(listener.read()[2] == b"k%d" % i, i)
                    check(reader.ask("STRLEN", f"k{i}") > 0, f"k{i} was told of before it was there")
                for _ in range(sent):
                    check(writer.read() in (b"OK", 1), "answered in order")


def test_order_within_a_connection():
    """RESP3: replies and messages in one stream; a subscription's messages begin after it is confirmed, and end before its
    end is."""
    with both() as servers:
        for name, port in servers:
            with Client(port) as client, Client(port) as other:
                client.ask("HELLO", 3)
                other.ask("SET", "k", "v" * 3000)
                for i in range(100):
                    for words in (("GET", "k"), ("SUBSCRIBE", "c"), ("GET", f"none{i}"), ("PUBLISH", "c", "own"), ("ECHO", "x"),
                                  ("UNSUBSCRIBE", "c"), ("PUBLISH", "c", "late"), ("GET", "k")):
                        client.send(*words)
                    came = [client.read() for _ in range(9)]
                    check(came.count([b"message", b"c", b"own"]) == 1, f"{name} {i}: {came}")
                    at = came.index([b"message", b"c", b"own"])
                    check(came.index([b"subscribe", b"c", 1]) < at < came.index([b"unsubscribe", b"c", 0]), f"{name} {came}")
                    del came[at]
                    check(came == [b"v" * 3000, [b"subscribe", b"c", 1], None, 1, b"x", [b"unsubscribe", b"c", 0], 0,
                                   b"v" * 3000], f"{name} {i}: {came}")


def test_nothing_from_before():
    """What was published before a subscription is not for it, though it is still on its way to others."""
    with both() as servers:
        for name, port in servers:
            with ExitStack() as stack:
                for _ in range(2 * SHARDS):
                    stack.enter_context(subscribed(port, "SUBSCRIBE", "c"))
                client = stack.enter_context(Client(port))
                client.ask("HELLO", 3)
                for i in range(50):
                    client.socket.sendall(b"PUBLISH c early\r\nSUBSCRIBE c\r\nPING\r\nUNSUBSCRIBE c\r\n")
                    came = [client.read() for _ in range(4)]
                    check(came == [2 * SHARDS, [b"subscribe", b"c", 1], b"PONG", [b"unsubscribe", b"c", 0]], f"{name} {i}: {came}")


def test_silent_connections_hear():
    """CLIENT REPLY OFF is about replies."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, Client(port_of(daemon)) as other:
            client.ask("HELLO", 3)
            client.send("CLIENT", "REPLY", "OFF")
            client.send("SET", "k", "v")
            client.send("SUBSCRIBE", "c")
            check(client.read() == [b"subscribe", b"c", 1], "confirmed")
            check(other.ask("PUBLISH", "c", "m") == 1, "one")
            client.send("PUBLISH", "c", "mine")
            check([client.read()[2], client.read()[2]] == [b"m", b"mine"], "heard, and nothing else")


def test_slow_subscribers_are_closed():
    """One that does not read is closed at twice limits.output_buffer; others get everything."""
    with Daemon(shards=SHARDS, settings=("limits.output_buffer=1MiB",)) as daemon:
        daemon.start()
        port = port_of(daemon)
        with subscribed(port, "SUBSCRIBE", "c") as good, Client(port) as talker:
            slow = [subscribed(port, "SUBSCRIBE", "c") for _ in range(6)]
            talker.ask("PING")
            before = daemon.rss_bytes()
            payload = b"x" * 50_000
            counts = []
            for i in range(400):
                counts.append(talker.ask("PUBLISH", "c", b"%d:" % i + payload))
                check(good.read()[2].startswith(b"%d:" % i), i)
            check(counts[0] == 7, counts[0])
            wait_for("they are gone", lambda: talker.ask("PUBLISH", "c", "end") == 1)
            check(good.read()[2] == b"end", "he who reads")
            more = daemon.rss_bytes() - before
            check(more <= (64 << 20) * SLOWNESS,  # A sanitizer needs memory of its own.
                  f"{more >> 20} MiB for subscribers that do not read")

            def closed():
                return sum(float(line.split()[-1]) for line in daemon.http("/metrics")[1].splitlines()
                           if line.startswith("belay_connections_output_limited_total"))
            wait_for("they were counted", lambda: closed() == 6)
            for client in slow:
                check(ended(client), "closed")
                client.__exit__()


def test_more_than_the_queues_take():
    """Publishers that are faster than a thread gives away wait; nothing is lost."""
    talkers, each, payload = 6, 6, b"x" * 8_000_000
    with Daemon(shards=SHARDS, settings=("limits.output_buffer=1GiB",)) as daemon:
        daemon.start()
        port = port_of(daemon)
        with subscribed(port, "SUBSCRIBE", "c") as listener:

            def talk(number):
                with Client(port) as client:
                    for i in range(each):
                        client.send("PUBLISH", "c", b"%d %d " % (number, i) + payload)
                    check([client.read() for _ in range(each)] == [1] * each, "receivers")
            threads = [threading.Thread(target=talk, args=(i,)) for i in range(talkers)]
            for thread in threads:
                thread.start()
            nexts = [0] * talkers
            for _ in range(talkers * each):
                number, i, rest = listener.read()[2].split(b" ")
                check(int(i) == nexts[int(number)] and rest == payload, f"{number} {i}")
                nexts[int(number)] += 1
            for thread in threads:
                thread.join()


def test_a_stop_ends_subscribers():
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        clients = [subscribed(port_of(daemon), "SUBSCRIBE", "c", version=2 + i % 2) for i in range(8)]
        check(daemon.stop() == 0, "clean")
        for client in clients:
            check(client.raw() == b"", "the end")
            client.__exit__()


def test_limits():
    """Subscriptions of a connection: how many, and how long their names."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, Client(port_of(daemon)) as other:
            for word, most in (("SUBSCRIBE", 65536), ("PSUBSCRIBE", 1024)):
                before = 65536 if word == "PSUBSCRIBE" else 0
                for begin in range(0, most, 1024):
                    client.send(word, *(f"c{i}" for i in range(begin, begin + 1024)))
                    for i in range(begin, begin + 1024):
                        check(client.read()[2] == before + i + 1, i)
                answer = client.ask(word, "more")
                check(isinstance(answer, Error) and b"more than %d" % most in answer, answer)
            check(client.ask("UNSUBSCRIBE", "c7")[2] == 65536 + 1024 - 1, "one ends")
            check(client.ask("SUBSCRIBE", "more")[2] == 65536 + 1024, "another begins")
            check(other.ask("PUBLISH", "c65535", "m") == 1 and client.read()[2] == b"m", "the last one")
            client.send("UNSUBSCRIBE")
            for i in range(65536):
                check(client.read()[2] == 65536 + 1024 - 1 - i, i)
            check(other.ask("PUBSUB", "CHANNELS") == [] and other.ask("PUBSUB", "NUMPAT") == 1024, "all ended")
            check(client.ask("RESET") == b"RESET" and other.ask("PUBSUB", "NUMPAT") == 0, "these, too")
            for i in range(8):
                check(client.ask("SUBSCRIBE", b"%d" % i + b"n" * ((1 << 20) - 1))[2] == i + 1, i)
            check(b"more than 8 MiB" in client.ask("SUBSCRIBE", "one"), "names")


def test_many_come_and_go():
    """Subscribers that come, leave and vanish on all threads while messages are on their way."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port = port_of(daemon)
        stop = threading.Event()
        failures = []

        def come_and_go(number):
            chance = random.Random(number)
            try:
                while not stop.is_set():
                    client = subscribed(port, "SUBSCRIBE", *(f"c{chance.randrange(20)}" for _ in range(5)),
                                        version=3)
                    client.send("PSUBSCRIBE", f"c{chance.randrange(3)}*")
                    client.send("PING")
                    while client.read() != b"PONG":
                        pass
                    if chance.randrange(2):
                        client.send("UNSUBSCRIBE")
                        client.send("RESET")
                        while client.read() != b"RESET":
                            pass
                    client.__exit__()
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)

        threads = [threading.Thread(target=come_and_go, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        with Client(port) as talker:
            for i in range(5000):
                talker.send("PUBLISH", f"c{i % 20}", "m" * (i % 2000))
                if i % 50 == 49:
                    for _ in range(50):
                        check(isinstance(talker.read(), int), "how many")
            stop.set()
            for thread in threads:
                thread.join()
            check(not failures, failures)
            wait_for("all have left", lambda: talker.ask("PUBSUB", "CHANNELS") == [] and talker.ask("PUBSUB", "NUMPAT") == 0)
        check(daemon.stop() == 0, "a clean end")


def listen(port, *patterns, events="KEgx"):
    client = Client(port)
    check(client.ask("CONFIG", "SET", "notify-keyspace-events", events) == b"OK", "set")
    client.send("PSUBSCRIBE", *patterns)
    for _ in patterns:
        client.read()
    return client


def drained(listener, port):
    """What has come up to now, by channel and payload. (A message of our own comes behind it.)"""
    with Client(port) as client:
        client.ask("PUBLISH", "__keyevent@end", "x")
    found = []
    while True:
        message = listener.read()
        if message[2] == b"__keyevent@end":
            return found
        found.append((message[2].decode(), message[3].decode()))


def test_events_as_redis_tells_them():
    """The same commands end the same keys; of each end Redis's two messages, in Redis's order."""
    steps = [
        ("SET", "s", 1), ("DEL", "s"), ("DEL", "s"), ("SET", "s", 1), ("UNLINK", "s", "none"), ("HSET", "h", "f", "v"),
        ("SET", "h", "a string now"), ("GETDEL", "h"), ("GETDEL", "h"), ("HSET", "h", "f", "v", "g", "w"), ("HDEL", "h", "f"),
        ("HDEL", "h", "g"), ("SADD", "set", "a", "b"), ("SREM", "set", "a", "b"), ("SADD", "set", "a"), ("SPOP", "set"),
        ("ZADD", "z", 1, "m"), ("ZREM", "z", "m"), ("SET", "e", 1), ("PEXPIREAT", "e", 1), ("SET", "e", 1), ("GETEX", "e", "PXAT", 1),
        ("SET", "{r}a", 1), ("RENAME", "{r}a", "{r}b"), ("SET", "a", 1), ("RENAME", "a", "b"), ("DEL", "{r}b", "b"),
        ("SELECT", 3), ("SET", "s", 1), ("DEL", "s"), ("SELECT", 0),
        ("MULTI",), ("SET", "{t}1", 1), ("SET", "{t}2", 1), ("DEL", "{t}1"), ("DEL", "{t}2"), ("SET", "{t}2", 2), ("EXEC",),
        ("MULTI",), ("DEL", "{t}2"), ("DISCARD",), ("EVAL", RELEASE, 1, "{t}2", 2), ("EXISTS", "{t}2"),
        ("SET", "e", 1, "PX", 1), ("GET", "e"), ("MULTI",), ("SET", "e", 1), ("DEL", "e"), ("EXEC",),
    ]
    with both() as servers:
        answers = {}
        for name, port in servers:
            with listen(port, "__key*") as listener, Client(port) as client:
                for step in steps:
                    if step == ("GET", "e"):  # Two lives end here: one has expired, the other is deleted.
                        wait_for("its deadline", lambda: client.ask("GET", "e") is None)
                    client.ask(*step)
                answers[name] = [(channel, payload) for channel, payload in drained(listener, port)
                                 if payload == "del" or "__:del" in channel]
        check(answers["redis"] == answers["belay"], f"{answers}")
        check(len(answers["belay"]) == 2 * 16, answers["belay"])


def test_set_with_a_deadline_that_is_past():
    """It has expired, and was not deleted: SET in its forms, in a transaction, of another type."""
    steps = [("SET", "a", 1), ("SET", "a", 2, "PXAT", 1), ("GET", "a"), ("SET", "a", 1), ("SET", "a", 2, "EXAT", 1, "GET"), ("GET", "a"),
             ("HSET", "h", "f", "v"), ("SET", "h", 1, "PXAT", 1), ("GET", "h"), ("MULTI",), ("SET", "t", 1), ("SET", "t", 2, "PXAT", 1),
             ("EXEC",), ("GET", "t"), ("SET", "d", 1), ("GETEX", "d", "PXAT", 1), ("SET", "d", 1), ("EXPIREAT", "d", 1)]
    with both() as servers:
        answers = {}
        for name, port in servers:
            with listen(port, "__keyevent*") as listener, Client(port) as client:
                for step in steps:
                    client.ask(*step)
                answers[name] = [(channel, key) for channel, key in drained(listener, port) if not channel.endswith(":expire")]
        check(answers["redis"] == answers["belay"], f"{answers}")
        check([key for channel, key in answers["belay"] if channel.endswith("expired")] == ["a", "a", "h", "t"], answers)


def test_which_events():
    """CONFIG SET and GET, as Redis; only what is asked for is told."""
    steps = [("CONFIG", "SET", "notify-keyspace-events", text) for text in
             ("KEA", "Egx", "Q", "", "An", "KAn", "g$lshzxetdn", "KEm", "E x")]
    steps += [("CONFIG", "SET", "notify-keyspace-events"), ("CONFIG", "SET"), ("CONFIG", "SET", "foo", "bar"),
              ("CONFIG", "SET", "notify-keyspace-events", "K", "foo"),
              ("CONFIG", "SET", "notify-keyspace-events", "K", "foo", "bar"),
              ("CONFIG", "SET", "Notify-Keyspace-Events", "K", "notify-keyspace-events", "E")]
    with both() as servers:
        answers = {}
        for name, port in servers:
            with Client(port) as client:
                answers[name] = []
                for step in steps:
                    answers[name].append((step, client.ask(*step)))
                    answers[name].append((step, client.ask("CONFIG", "GET", "notify-keyspace-events")))
            for events, wanted in (("", 0), ("K", 0), ("gx", 0), ("Kg", 1), ("Eg", 1), ("Ex", 0), ("KEA", 2), ("K$lshz", 0)):
                with listen(port, "__key*", events=events) as listener, Client(port) as other:
                    other.ask("HSET", "k", "f", 1)
                    other.ask("DEL", "k")
                    came = [message for message in drained(listener, port) if "del" in message[0] + message[1]]
                    check(len(came) == wanted, f"{name} {events}: {came}")
        check(answers["redis"] == answers["belay"], [pair for pair in zip(*answers.values()) if pair[0] != pair[1]])
    with Daemon(settings=("resp.notify_keyspace_events=Ex",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("CONFIG", "GET", "notify-*") == [b"notify-keyspace-events", b"xE"], "of the configuration")


def test_hashes_that_go_with_their_last_field():
    """As Redis 7.4 and later tell it: each was deleted, whoever finds it. After a crash they are gone all the same."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port, found = port_of(daemon), []
        with listen(port, "__keyevent@*") as listener, Client(port) as client:
            check(client.ask("HSETEX", "h", "PX", 1, "FIELDS", 2, "a", 1, "b", 2) == 1, "set")
            check(client.ask("HSETEX", "w", "PX", 1, "FIELDS", 1, "a", 1) == 1, "set")
            check(client.ask("HSET", "stays", "c", 3) == 1 and client.ask("HSETEX", "stays", "PX", 1, "FIELDS", 1, "a", 1) == 1, "set")
            wait_for("they are hidden", lambda: client.ask("EXISTS", "h", "w") == 0)
            check(client.ask("HSET", "w", "b", 2) == 1 and client.ask("HGETALL", "w") == [b"b", b"2"], "another one")
            client.ask("SET", "last", 1, "PX", 1)
            wait_for("all are told", lambda: found.extend(drained(listener, port)) or len(found) >= 3)
            check(sorted(found) == [("__keyevent@0__:del", "h"), ("__keyevent@0__:del", "w"), ("__keyevent@0__:expired", "last")], found)
            client.ask("HSETEX", "h", "PX", 1, "FIELDS", 1, "a", 1)
        daemon.kill()
        daemon.start()
        with Client(port_of(daemon)) as client:
            wait_for("hidden again", lambda: client.ask("EXISTS", "h") == 0)
            check(client.ask("HGETALL", "stays") == [b"c", b"3"] and client.ask("DBSIZE") == 2, "what stays")


def test_ends_are_told_once():
    """Deadlines and idle timeouts, used and not used meanwhile, ended by other doors: each once, on all shards."""
    count = 400
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port = port_of(daemon)
        with listen(port, "__keyevent@*") as listener, Client(port) as client:
            for i in range(count):
                client.send("SET", f"e{i}", i, "PX", 300 + i)
                client.send("SET", f"d{i}", i)
                client.send("SET", f"both{i}", i, "PX", 300 + i)
            for _ in range(3 * count):
                check(client.read() == b"OK", "set")
            for i in range(count):
                client.send("DEL", f"d{i}", f"both{i}")
            deleted = sum(client.read() for _ in range(count))
            alive = set(range(count))
            while alive:  # Reading what is dead tells nothing more, nor does deleting it.
                for i in list(alive):
                    if client.ask("GET", f"e{i}") is None:
                        alive.discard(i)
                        if i % 3 == 0:
                            check(client.ask("DEL", f"e{i}") == 0, i)
                        elif i % 3 == 1:
                            check(client.ask("SET", f"e{i}", "again") == b"OK", i)
            daemon.run("belayctl", "session", "put", "ctl", "a=1")
            daemon.run("belayctl", "session", "del", "ctl")
            found = []

            def all_came():
                found.extend(drained(listener, port))
                return len(found) >= count + 2 * count + 1
            wait_for("the ends are told", all_came)
            client.ask("SET", "last", 1, "PX", 1)
            wait_for("the last, too", lambda: found.extend(drained(listener, port)) or ("__keyevent@0__:expired", "last") in found)
            ends = {}
            for channel, key in found:
                ends.setdefault(key, []).append(channel.rsplit(":", 1)[1])
            check(all(len(one) == 1 for one in ends.values()), [pair for pair in ends.items() if len(pair[1]) > 1])
            check(all(ends[f"e{i}"] == ["expired"] for i in range(count)), "expired")
            check(all(ends[f"d{i}"] == ["del"] for i in range(count)), "deleted")
            check(sum(ends[f"both{i}"] == ["del"] for i in range(count)) == deleted - count, "whichever came first")
            check(ends["ctl"] == ["del"], "by another door")


def ends_around_a_crash(late_s):
    """False where the machine was too slow to see some of the ends before the late ones, and to kill the node between."""
    count = 300
    with Daemon(shards=SHARDS, settings=("resp.notify_keyspace_events=Egx",)) as daemon:
        daemon.start()
        port = port_of(daemon)
        with listen(port, "__keyevent@*", events="Egx") as listener, Client(port) as client:
            began = time.monotonic()
            for i in range(count):
                client.ask("SET", f"early{i}", i, "PX", 1 + i % 50)
                client.ask("SET", f"gone{i}", i)
                client.ask("SET", f"late{i}", i, "PX", int(1000 * late_s))
                client.ask("DEL", f"gone{i}")
            found = []
            wait_for("the early ones", lambda: found.extend(drained(listener, port)) or len(found) >= 2 * count)
            if time.monotonic() > began + late_s:
                return False
            check({key for _, key in found} == {f"{what}{i}" for i in range(count) for what in ("early", "gone")}, len(found))
        daemon.kill()
        daemon.start()
        port = port_of(daemon)
        with listen(port, "__keyevent@*", events="Egx") as listener:
            if time.monotonic() > began + late_s:
                return False
            found = []
            wait_for("the late ones", lambda: found.extend(drained(listener, port)) or len(found) >= count, 60 + late_s)
            with Client(port) as client:
                client.ask("SET", "last", 1, "PX", 1)
            wait_for("one more", lambda: found.extend(drained(listener, port)) or found[-1][1] == "last")
            check(sorted(key for _, key in found) == sorted(["last"] + [f"late{i}" for i in range(count)]), len(found))
            return True


@long
def test_nothing_is_told_twice_after_a_crash():
    """kill -9: what had ended is not told again; what ended meanwhile is, once."""
    late_s = 4
    while not ends_around_a_crash(late_s):
        late_s *= 2


def test_transactions():
    """PUBLISH, PING, ECHO and TIME between MULTI and EXEC: sent once it is done, or not at all."""
    setup = [("HSET", "{k}h", "a", 1, "b", 2), ("SADD", "{k}s", "m"), ("ZADD", "{k}z", 1.5, "m"), ("SET", "{k}n", "x")]
    steps = [
        # With keys: replies of every kind around the numbers that PUBLISH answers.
        [("MULTI",), ("PUBLISH", "c", "first"), ("HGETALL", "{k}h"), ("PING",), ("PING", "x"), ("PUBLISH", "none", "m"),
         ("ZSCORE", "{k}z", "m"), ("SMEMBERS", "{k}s"), ("GET", "{k}none"), ("MGET", "{k}n", "{k}h", "{k}none"), ("INCR", "{k}n"),
         ("ECHO", "*3\r\n$-1\r\n"), ("PUBLISH", "c", "second"), ("SET", "{k}n", "\r\n:5"), ("GET", "{k}n"),
         ("PUBLISH", "c", "third"), ("EXEC",)],
        [("MULTI",), ("PING",), ("PUBLISH", "c", "without keys"), ("PING", "a", "b"), ("PUBLISH", "none", ""), ("EXEC",)],
        [("MULTI",), ("ECHO", "x"), ("EXEC",)], [("MULTI",), ("EXEC",)],
        [("MULTI",), ("PUBLISH", "c", "never"), ("DISCARD",)],
        [("MULTI",), ("PUBLISH", "c", "never"), ("PUBLISH", "c"), ("EXEC",)],
        [("WATCH", "{k}w"), ("SET", "{k}w", 1), ("MULTI",), ("PUBLISH", "c", "never"), ("SET", "{k}w", 2), ("EXEC",)],
        [("WATCH", "{k}w"), ("MULTI",), ("PUBLISH", "c", "watched"), ("EXEC",)],
        [("SET", "{k}w", "v" * 5000), ("MULTI",), ("PUBLISH", "c", "last"), ("GET", "{k}w"), ("EXEC",), ("GET", "{k}w")],
    ]
    with both() as servers:
        for version in (2, 3):
            answers = {}
            for name, port in servers:
                answers[name] = []
                with subscribed(port, "SUBSCRIBE", "c") as listener, Client(port) as client:
                    if version == 3:
                        client.ask("HELLO", 3)
                    for step in setup:
                        client.ask(*step)
                    for step in steps:
                        for words in step:
                            client.send(*words)
                        answers[name] += [(words, client.read()) for words in step]
                    heard = []
                    while not heard or heard[-1] != b"last":
                        heard.append(listener.read()[2])
                    answers[name].append(("heard", heard))
                    client.send("MULTI")
                    client.send("TIME")
                    client.send("EXEC")
                    moment = [client.read() for _ in range(3)][2][0]
                    check(abs(int(moment[0]) - time.time()) < 60 and 0 <= int(moment[1]) < 1000_000, moment)
            for theirs, ours in zip(answers["redis"], answers["belay"]):
                check(theirs == ours, f"RESP{version}: {theirs!r}, here {ours!r}")


if __name__ == "__main__":
    run_cases(__name__)
