"""Publish and subscribe of Redis clients: the answers are those of Redis, over all threads of a node."""

import os
import random
import threading
from contextlib import ExitStack, contextmanager

from cases import run_cases
from daemon import Daemon, check, wait_for
from redis_kit import Client, Error, Redis, port_of

SHARDS = 3


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
                        if version == 3 and step[0] in ("MULTI", "DBSIZE", "PUBLISH"):
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
            for i in range(800):
                counts.append(talker.ask("PUBLISH", "c", b"%d:" % i + payload))
                check(good.read()[2].startswith(b"%d:" % i), i)
            check(counts[0] == 7, counts[0])
            wait_for("they are gone", lambda: talker.ask("PUBLISH", "c", "end") == 1)
            check(good.read()[2] == b"end", "he who reads")
            more = daemon.rss_bytes() - before
            check(more <= 64 << 20, f"{more >> 20} MiB for subscribers that do not read")
            metrics = daemon.http("/metrics")[1]
            closed = sum(float(line.split()[-1]) for line in metrics.splitlines()
                         if line.startswith("belay_connections_output_limited_total"))
            check(closed == 6, f"{closed} were counted")
            for client in slow:
                check(ended(client), "closed")
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


if __name__ == "__main__":
    run_cases(__name__)
