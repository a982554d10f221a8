"""MONITOR: who watches is shown the commands of all connections, as Redis shows them."""

import random
import re
import threading
from contextlib import ExitStack, contextmanager
from itertools import zip_longest

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, Error, Redis, port_of

SHARDS = 3
RELEASE = 'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'
LINE = re.compile(rb'\d{10}\.\d{6} \[(\d+) ([^ ]+)\] (".*)')


@contextmanager
def both():
    """The ports of a redis-server and of a node with several threads."""
    with Redis() as redis, Daemon(shards=SHARDS, settings=("resp.allow_flush=yes",)) as daemon:
        daemon.start()
        yield [("redis", redis.port), ("belay", port_of(daemon))]


def watch(port, version=2):
    client = Client(port)
    if version == 3:
        client.ask("HELLO", 3)
    check(client.ask("MONITOR") == b"OK", "it watches")
    return client


def taken(line):
    """The parts of a line: database, address, arguments."""
    match = LINE.fullmatch(line)
    check(match, line)
    return match.groups()


def name_of(client):
    return b"127.0.0.1:%d" % client.socket.getsockname()[1]


def shown(watcher, port, mark):
    """All lines up to now. (What we send ourselves comes behind them.)"""
    with Client(port) as client:
        client.ask("ECHO", mark)
    lines = []
    while True:
        parts = taken(watcher.read())
        if parts[2] == b'"ECHO" "%s"' % mark.encode():
            return lines
        lines.append(parts)


def test_same_lines_as_redis():
    """What a connection sends, step by step, and what is shown of it."""
    steps = [
        ("SET", "k", "v"), ("get", "k"), ("GeT", "k"), ("HSET", "h", "f", "v"), ("GET", "h"), ("NOTHING", "x"), ("GET",), ("SET", "", ""),
        ("SET", "k", bytes(range(256))), ("SET", 'a"b\\c', "\n\r\t\a\b ~\x7f"), ("SET", "k", "x" * 20_000),
        ("MSET", "a", 1, "b", 2, "c", 3), ("MGET", "a", "b", "c", "d"), ("DEL", "a", "b"), ("EXISTS", "c", "c"), ("KEYS", "*"), ("DBSIZE",),
        ("SCAN", 0), ("RENAME", "c", "d"), ("RENAME", "d", "e"), ("RENAME", "none", "e"), ("EXPIRE", "e", 100), ("FLUSHALL",), ("FLUSHDB",),
        ("PING",), ("PING", "x"), ("ECHO", "x"), ("TIME",), ("INFO", "server"), ("COMMAND", "COUNT"), ("ROLE",), ("CLIENT", "ID"),
        ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", "me"), ("CLIENT", "FOO"), ("CLIENT", "NO-EVICT", "on"), ("CLIENT", "KILL", "x"),
        ("CONFIG", "GET", "save"), ("CONFIG", "SET", "notify-keyspace-events", ""), ("CONFIG", "HELP"), ("CONFIG", "FOO"),
        ("SLOWLOG", "GET"), ("SLOWLOG", "LEN"), ("SLOWLOG", "RESET"), ("SLOWLOG", "HELP"), ("SLOWLOG", "FOO"), ("SLOWLOG", "LEN", 1),
        ("MONITOR", "x"), ("AUTH", "secret1"), ("AUTH", "user", "secret2"), ("HELLO", 2, "AUTH", "user", "secret3"),
        ("HELLO", 2, "SETNAME", "x", "AUTH", "user", "secret4"), ("HELLO", 2), ("HELLO", 9),
        ("SELECT", 1), ("SET", "k", 1), ("SELECT", 99), ("SELECT", 0),
        ("MULTI",), ("SET", "{t}a", "x y"), ("GeT", "{t}b"), ("PING",), ("EXEC",), ("MULTI",), ("GET", "k"), ("DISCARD",),
        ("EXEC",), ("DISCARD",), ("MULTI",), ("NOTHING",), ("GET", "k"), ("EXEC",), ("WATCH", "k"), ("UNWATCH",), ("MULTI",), ("EXEC",),
        ("SUBSCRIBE", "c"), ("PING",), ("GET", "k"), ("UNSUBSCRIBE", "c"), ("PUBLISH", "c", "m"), ("PUBSUB", "CHANNELS"),
        ("EVAL", RELEASE, 1, "none", "x"), ("SCRIPT", "LOAD", RELEASE), ("SCRIPT", "EXISTS", "x"), ("OBJECT", "ENCODING", "k"),
        ("TYPE", "s"), ("TTL", "k"), ("RESET",), ("GET", "k"), ("QUIT",),
    ]
    with both() as servers:
        for version in (2, 3):
            lines = {}
            for name, port in servers:
                with watch(port, version) as watcher, Client(port) as client:
                    for step in steps:
                        client.ask(*step)
                    came = shown(watcher, port, "end")
                    check({address for _, address, _ in came} <= {name_of(client), b"lua"}, f"{name}: {came}")
                    # Lua does not run here, so it sends nothing.
                    lines[name] = [(database, text) for database, address, text in came if address != b"lua"]
            for theirs, ours in zip_longest(lines["redis"], lines["belay"]):
                check(theirs == ours, f"RESP{version}: {theirs!r}, here {ours!r}")
            check(not any(b"secret" in text for _, text in lines["belay"]), "no secrets")


def test_many_keys_in_a_transaction():
    """What EXEC carries out is shown whole; the names as the table has them, where a command was taken apart."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port = port_of(daemon)
        with watch(port) as watcher, Client(port) as client:
            for step in (("MULTI",), ("MSET", "{t}a", 1, "{t}b", 2), ("DEL", "{t}a", "{t}b", "{t}c"), ("ECHO", "x"), ("PUBLISH", "c", "m"),
                         ("CONFIG", "GET", "save"), ("CLIENT", "ID"), ("RENAME", "{t}a", "{t}b"), ("EXEC",)):
                client.ask(*step)
            check([text for _, _, text in shown(watcher, port, "end")] == [
                b'"MULTI"', b'"mset" "{t}a" "1" "{t}b" "2"', b'"del" "{t}a" "{t}b" "{t}c"', b'"ECHO" "x"', b'"PUBLISH" "c" "m"',
                b'"CLIENT" "ID"', b'"RENAME" "{t}a" "{t}b"', b'"EXEC"'], "all of it")
            check(client.ask("AUTH", "user", "secret", "more") == Error(b"ERR syntax error"), "too many")
            check(shown(watcher, port, "end") == [(b"0", name_of(client), b'"AUTH" "(redacted)" "(redacted)" "(redacted)"')], "even so")


def test_what_a_watcher_may_do():
    """The watcher's own commands: answers as Redis gives them, then its line."""
    steps = [
        ("PING",), ("GET", "a"), ("SET", "a", "b"), ("DEL", "a"), ("EVAL", "return 1", 0), ("EVALSHA", "x", 0), ("PUBLISH", "x", "y"),
        ("DBSIZE",), ("KEYS", "*"), ("SCAN", 0), ("WATCH", "a"), ("UNWATCH",), ("TYPE", "a"), ("FLUSHALL",), ("CONFIG", "GET", "save"),
        ("OBJECT", "ENCODING", "a"), ("NOTHING",), ("GET",), ("CLIENT", "SETNAME", "w"), ("CLIENT", "GETNAME"), ("ECHO", "x"), ("SELECT", 3),
        ("SUBSCRIBE", "x"), ("PING",), ("MONITOR", "x"), ("UNSUBSCRIBE", "x"), ("MULTI",), ("PING",), ("GET", "a"), ("EXEC",),
        ("MULTI",), ("PING",), ("EXEC",), ("MONITOR", "again", "x"), ("SELECT", 0), ("AUTH", "secret"),
    ]
    quiet = ("GET", "SET", "DEL", "EVAL", "EVALSHA", "PUBLISH", "DBSIZE", "KEYS", "SCAN", "TYPE", "FLUSHALL", "CONFIG", "OBJECT", "NOTHING",
             "MONITOR")
    with both() as servers:
        for version in (2, 3):
            answers = {}
            for name, port in servers:
                with watch(port, version) as client:
                    queued = False
                    found = answers[name] = []
                    for step in steps:
                        client.send(*step)
                        found.append((step, client.read()))
                        if step[0] in quiet or (queued and step[0] != "EXEC"):
                            continue
                        queued = step == ("MULTI",)
                        failed = isinstance(found[-1][1], Error) and b"EXECABORT" in found[-1][1]
                        lines = 1 + (step == ("EXEC",) and not failed)
                        found += [(step, taken(client.read())[::2]) for _ in range(lines)]
                    # MONITOR once more is not answered.
                    client.send("MONITOR")
                    client.send("ECHO", "here")
                    found.append(("again", client.read()))
                    found.append(("again", taken(client.read())[2]))
                    check(client.ask("RESET") == b"RESET", "as new")
                    check(client.ask("GET", "a") is None and client.ask("PING") == b"PONG", "no line any more")
                    check(client.ask("MONITOR") == b"OK", "watches again")
                    client.send("QUIT")
                    check(client.raw() == b"+OK\r\n", "the end")
            check(answers["redis"] == answers["belay"],
                  [pair for pair in zip(answers["redis"], answers["belay"]) if pair[0] != pair[1]])
        for name, port in servers:
            with Client(port) as client:
                client.ask("SUBSCRIBE", "c")
                check(client.ask("MONITOR").startswith(b"ERR Can't execute 'monitor'"), name)
                check(client.ask("RESET") == b"RESET", "as new")
                check(client.ask("CLIENT", "REPLY", "ON") == b"OK" and client.ask("MONITOR") == b"OK", "watches")
                client.send("CLIENT", "REPLY", "OFF")
                with Client(port) as other:
                    other.ask("ECHO", "unheard")
                client.send("CLIENT", "REPLY", "ON")
                check(client.read() == b"OK", "nothing meanwhile")


def test_a_silent_watcher_misses_what_it_does_not_want():
    """After CLIENT REPLY OFF nothing is sent; lines begin again with ON."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port = port_of(daemon)
        with watch(port) as watcher, Client(port) as client:
            watcher.send("CLIENT", "REPLY", "OFF")
            wait_for("silent", lambda: client.ask("PING") == b"PONG")
            watcher.send("CLIENT", "REPLY", "ON")
            seen = []
            while not seen or b'"REPLY" "ON"' not in seen[-1]:
                seen.append(watcher.read())
            check(b"OK" in seen, seen)
            client.ask("ECHO", "heard")
            check(taken(watcher.read())[2] == b'"ECHO" "heard"', "again")


def test_all_threads():
    """Talkers and watchers on all threads: each watcher sees each command once, all in the same order with times that do
    not go back; each talker's own order is kept."""
    each, talkers = 300, 6
    with both() as servers:
        for name, port in servers:
            with ExitStack() as stack:
                watchers = [stack.enter_context(watch(port, 2 + i % 2)) for i in range(2 * SHARDS)]
                addresses = {}

                def talk(number, port=port, addresses=addresses):
                    with Client(port) as client:
                        addresses[name_of(client)] = number
                        chance = random.Random(number)
                        for i in range(each):
                            client.send(*chance.choice((("SET", f"k{i}", i), ("GET", f"k{i}"), ("MGET", f"a{i}", f"b{i}", f"c{i}"),
                                                        ("RENAME", f"k{i}", f"l{i}"), ("ECHO", i), ("INCR", f"n{i}"))))
                        for i in range(each):
                            client.read()
                threads = [threading.Thread(target=talk, args=(i,)) for i in range(talkers)]
                for thread in threads:
                    thread.start()
                came = []
                for watcher in watchers:
                    lines = []
                    while len(lines) < talkers * each:
                        line = watcher.read()
                        lines += [line] if b'"HELLO"' not in line else []  # Of other watchers.
                    came.append(lines)
                for thread in threads:
                    thread.join()
                check(all(one == came[0] for one in came), f"{name}: the orders differ")
                times = [float(line.split()[0]) for line in came[0]]
                check(times == sorted(times), f"{name}: times")
                for address, number in addresses.items():
                    chance = random.Random(number)
                    wanted = [chance.choice((("SET", f"k{i}", i), ("GET", f"k{i}"), ("MGET", f"a{i}", f"b{i}", f"c{i}"),
                                             ("RENAME", f"k{i}", f"l{i}"), ("ECHO", i), ("INCR", f"n{i}"))) for i in range(each)]
                    mine = [parts[2] for parts in map(taken, came[0]) if parts[1] == address]
                    check(mine == [b" ".join(b'"%s"' % str(word).encode() for word in words) for words in wanted], f"{name} {number}")


def test_put_off_and_shown_once():
    """A pipeline whose replies are not read is put off and served again: each command is shown once, in order."""
    with Daemon(shards=SHARDS, settings=("limits.output_buffer=64MiB", "limits.in_flight=8")) as daemon:
        daemon.start()
        port = port_of(daemon)
        with watch(port) as watcher, Client(port) as client:
            value = b"v" * 200_000
            for i in range(20):
                client.ask("SET", f"k{i}", value)
            check(len(shown(watcher, port, "begin")) == 20, "written")
            sender = threading.Thread(target=lambda: client.socket.sendall(b"".join(
                b"GET k%d\r\nMGET k%d k%d\r\nPING %d\r\nRENAME none%d x\r\n" % (i % 20, i % 20, (i + 1) % 20, i, i) for i in range(200))))
            sender.start()
            for i in range(200):
                check(client.read() == value and client.read() == [value] * 2 and client.read() == b"%d" % i, i)
                check(isinstance(client.read(), Error), i)
            sender.join()
            wanted = [text for i in range(200) for text in (b'"GET" "k%d"' % (i % 20), b'"MGET" "k%d" "k%d"' % (i % 20, (i + 1) % 20),
                                                           b'"PING" "%d"' % i, b'"RENAME" "none%d" "x"' % i)]
            check([text for _, _, text in shown(watcher, port, "end")] == wanted, "once, in order")


def test_slow_watchers_are_closed():
    """One that does not read is closed at twice limits.output_buffer; others see everything."""
    with Daemon(shards=SHARDS, settings=("limits.output_buffer=1MiB",)) as daemon:
        daemon.start()
        port = port_of(daemon)
        with watch(port) as good, Client(port) as talker:
            slow = [watch(port) for _ in range(6)]
            talker.ask("PING")
            before = daemon.rss_bytes()
            payload = b"x" * 50_000
            check(taken(good.read())[2] == b'"PING"', "the first one")
            for i in range(400):
                check(talker.ask("ECHO", b"%d:" % i + payload) == b"%d:" % i + payload, i)
                check(taken(good.read())[2] == b'"ECHO" "%d:' % i + payload + b'"', "he who reads")

            def closed():
                return sum(float(line.split()[-1]) for line in daemon.http("/metrics")[1].splitlines()
                           if line.startswith("belay_connections_output_limited_total"))
            wait_for("they were counted", lambda: closed() == 6)
            more = daemon.rss_bytes() - before
            check(more <= (64 << 20) * SLOWNESS, f"{more >> 20} MiB for watchers that do not read")
            for client in slow:
                client.socket.settimeout(60)
                try:
                    while client.file.read(65536):
                        pass
                except ConnectionResetError:
                    pass
                client.__exit__()


def test_a_large_command():
    """One line larger than the queues take at once goes through whole."""
    with Daemon(shards=SHARDS, settings=("limits.output_buffer=64MiB",)) as daemon:
        daemon.start()
        port = port_of(daemon)
        with watch(port) as watcher, Client(port) as client:
            value = b"\x00" * 12_000_000
            check(client.ask("ECHO", value) == value, "answered")
            client.ask("ECHO", "small")
            check(taken(watcher.read())[2] == b'"ECHO" "' + b"\\x00" * 12_000_000 + b'"', "whole")
            check(taken(watcher.read())[2] == b'"ECHO" "small"', "and what follows")


def test_many_come_and_go():
    """Watchers that come, leave and vanish on all threads while commands are on their way; a clean stop with some left."""
    with Daemon(shards=SHARDS) as daemon:
        daemon.start()
        port = port_of(daemon)
        stop = threading.Event()
        failures = []

        def come_and_go(number):
            chance = random.Random(number)
            try:
                while not stop.is_set():
                    client = watch(port, 2 + number % 2)
                    for _ in range(chance.randrange(20)):
                        taken(client.read())
                    if chance.randrange(2):
                        client.send("RESET")
                        while client.read() != b"RESET":
                            pass
                        check(client.ask("PING") == b"PONG", "over")
                    client.__exit__()
            except Exception as failure:  # pylint: disable=broad-except
                if not stop.is_set():
                    failures.append(failure)

        threads = [threading.Thread(target=come_and_go, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        with Client(port) as talker:
            for i in range(3000):
                check(talker.ask("ECHO", i) == b"%d" % i, "answered")
            stop.set()
            while any(thread.is_alive() for thread in threads):
                talker.ask("ECHO", "more")
            check(not failures, failures)
        left = [watch(port) for _ in range(4)]
        check(daemon.stop() == 0, "a clean end")
        for client in left:
            client.raw()
            client.__exit__()


if __name__ == "__main__":
    run_cases(__name__)
