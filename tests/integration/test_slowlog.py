"""SLOWLOG: which commands are in it, what it tells of them; the same as Redis where both tell the same."""

import threading
import time
from contextlib import contextmanager

from cases import long_but_for_threads, run_cases
from daemon import Daemon, check, wait_for
from redis_kit import Client, Error, Redis, port_of

SHARDS = 3
RELEASE = 'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'


@contextmanager
def both(slower_than="0", length="1000"):
    """The ports of a redis-server and of a node with several threads."""
    settings = (f"resp.slowlog_log_slower_than={slower_than}", f"resp.slowlog_max_len={length}", "resp.allow_flush=yes")
    with Redis(settings=(("slowlog-log-slower-than", slower_than), ("slowlog-max-len", length))) as redis, \
            Daemon(shards=SHARDS, settings=settings) as daemon:
        daemon.start()
        yield [("redis", redis.port), ("belay", port_of(daemon))]


def entries(client, count=-1):
    """The arguments of the entries, the oldest first."""
    return [entry[3] for entry in reversed(client.ask("SLOWLOG", "GET", count))]


def same_entries(steps, version=2):
    """One connection sends these: what is in the log of each server then."""
    logs = {}
    with both() as servers:
        for name, port in servers:
            with Client(port) as client:
                if version == 3:
                    client.ask("HELLO", 3)
                check(client.ask("SLOWLOG", "RESET") == b"OK", "reset")
                for step in steps:
                    client.ask(*step)
                logs[name] = entries(client)
    return logs


def test_same_entries_as_redis():
    """Everything is logged (0): which commands, and how their arguments are told, in both versions of the protocol."""
    steps = [
        ("SET", "k", "v"), ("get", "k"), ("GeT", "k"), ("HSET", "h", "f", "v"), ("HGETALL", "h"), ("GET", "h"), ("NOTHING", "x"), ("GET",),
        ("MSET", "a", 1, "b", 2, "c", 3), ("MGET", "a", "b", "c", "d"), ("DEL", "a", "b"), ("EXISTS", "c", "c"), ("KEYS", "*"), ("DBSIZE",),
        ("SCAN", 0), ("RENAME", "c", "d"), ("RENAME", "d", "e"), ("RENAME", "none", "e"), ("EXPIRE", "e", 100), ("FLUSHALL",),
        ("PING",), ("PING", "x"), ("ECHO", "x"), ("TIME",), ("INFO", "server"), ("COMMAND", "COUNT"), ("CLIENT", "ID"), ("CLIENT", "FOO"),
        ("CLIENT", "SETNAME", "me"), ("CONFIG", "GET", "save"), ("CONFIG", "FOO"), ("SLOWLOG", "LEN"), ("SLOWLOG", "FOO"),
        ("SLOWLOG", "LEN", "x"), ("SELECT", 1), ("SELECT", 99), ("SELECT", 0), ("ROLE",), ("PUBLISH", "c", "m"), ("PUBSUB", "CHANNELS"),
        ("MULTI",), ("DISCARD",), ("MULTI",), ("NOTHING",), ("DISCARD",), ("WATCH", "k"), ("UNWATCH",),
        ("SET", "long", "x" * 128), ("SET", "long", "x" * 129), ("SET", "long", "x" * 5000), ("SET", "l" * 200, b"\0\xff\r\n"), ("SET", "", ""),
        ("SADD", "s", *range(29)), ("SADD", "s", *range(30)), ("SADD", "s", *range(31)), ("SADD", "s", *range(1000)),
        ("SADD", "s", "y" * 300, *range(30)), ("EVAL", RELEASE, 1, "none", "x"), ("SCRIPT", "EXISTS", "x"), ("SCRIPT", "LOAD", RELEASE),
        ("OBJECT", "ENCODING", "s"), ("TYPE", "s"), ("RESET",), ("GET", "k"),
    ]
    for version in (2, 3):
        # In RESP3 INFO is a kind of text that the client here does not read, and RESET would end it.
        logs = same_entries([step for step in steps[:-2] if step[0] != "INFO"] if version == 3 else steps, version)
        # Redis tells what its Lua does by itself.
        logs["redis"] = [entry for entry in logs["redis"] if entry != [b"get", b"none"]]
        check(logs["redis"] == logs["belay"], "\n".join(f"{theirs!r}\n    {ours!r}" for theirs, ours in
                                                        zip(logs["redis"], logs["belay"]) if theirs != ours))
        check([b"SET", b"long", b"x" * 128 + b"... (4872 more bytes)"] in logs["belay"], "a long one")
        check([b"SADD", b"s", *(b"%d" % i for i in range(29)), b"... (971 more arguments)"] in logs["belay"], "many")


def test_passwords_are_redacted():
    steps = [("AUTH", "secret1"), ("AUTH", "user", "secret2"), ("HELLO", 2, "AUTH", "user", "secret3"),
             ("HELLO", 2, "SETNAME", "x", "auth", "user", "secret4"), ("CONFIG", "SET", "requirepass", ""),
             ("CONFIG", "SET", "appendonly", "no", "MasterAuth", "secret5")]
    logs = same_entries(steps)
    # The connection's second HELLO fails in both after its SETNAME; settings that there are not are refused here.
    check(logs["redis"] == logs["belay"], f"{logs}")
    check(not any(b"secret" in argument for entry in logs["belay"] for argument in entry), logs["belay"])
    with Daemon(settings=("resp.slowlog_log_slower_than=0",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            client.ask("AUTH", "user", "secret6", "more")
            check(entries(client)[-1] == [b"AUTH", *[b"(redacted)"] * 3], "even so")


def test_same_answers_as_redis():
    """The commands and the settings, step by step."""
    steps = [
        ("SLOWLOG",), ("SLOWLOG", "FOO"), ("SLOWLOG", "FOO", "x"), ("SLOWLOG", "GET", "x"), ("SLOWLOG", "GET", "-2"), ("SLOWLOG", "GET", 1, 2),
        ("SLOWLOG", "gEt", 1, 2), ("SLOWLOG", "GET", ""), ("SLOWLOG", "GET", "9223372036854775808"), ("SLOWLOG", "LEN", 1),
        ("SLOWLOG", "RESET", 1), ("SLOWLOG", "HELP", 1), ("SLOWLOG", "GET"), ("SLOWLOG", "GET", 0), ("SLOWLOG", "GET", -1), ("SLOWLOG", "LEN"),
        ("slowlog", "len"), ("SLOWLOG", "RESET"), ("CONFIG", "GET", "slowlog-log-slower-than"), ("CONFIG", "GET", "slowlog-max-len"),
        ("CONFIG", "SET", "slowlog-log-slower-than", "x"), ("CONFIG", "SET", "slowlog-log-slower-than", "-2"),
        ("CONFIG", "SET", "slowlog-log-slower-than", "99999999999999999999"), ("CONFIG", "SET", "slowlog-log-slower-than", ""),
        ("CONFIG", "SET", "slowlog-max-len", "x"), ("CONFIG", "SET", "slowlog-max-len", "9223372036854775808"),
        ("CONFIG", "SET", "slowlog-max-len", " 5"), ("CONFIG", "SET", "slowlog-max-len"),
        ("CONFIG", "SET", "slowlog-max-len", 2, "SLOWLOG-max-len", 10), ("CONFIG", "SET", "slowlog-max-len", 7, "foo", "bar"),
        ("CONFIG", "SET", "slowlog-max-len", "x", "foo", "bar"), ("CONFIG", "SET", "SLOWLOG-max-len", "x"), ("CONFIG", "GET", "slowlog-max-len"),
        ("CONFIG", "SET", "slowlog-max-len", 3, "slowlog-log-slower-than", -2), ("CONFIG", "GET", "slowlog-max-len"),
        ("CONFIG", "SET", "slowlog-max-len", 3, "slowlog-log-slower-than", "9223372036854775807"), ("CONFIG", "GET", "slowlog-max-len"),
        ("CONFIG", "GET", "slowlog-log-slower-than"), ("CONFIG", "SET", "Slowlog-Log-Slower-Than", -1, "notify-keyspace-events", "KEA"),
        ("CONFIG", "GET", "slowlog-log-slower-than"), ("CONFIG", "GET", "notify-keyspace-events"),
    ]
    with both("10000000") as servers:
        for version in (2, 3):
            answers = {}
            for name, port in servers:
                with Client(port) as client:
                    check(client.ask("CONFIG", "SET", "slowlog-log-slower-than", 10000000, "slowlog-max-len", 128,
                                     "notify-keyspace-events", "") == b"OK", "as it was")
                    if version == 3:
                        client.ask("HELLO", 3)
                    answers[name] = [(step, client.ask(*step)) for step in steps]
                    help_lines = client.ask("SLOWLOG", "HELP")
                    check(help_lines[0].startswith(b"SLOWLOG <subcommand>") and b"RESET" in help_lines, help_lines)
            check(answers["redis"] == answers["belay"],
                  [pair for pair in zip(answers["redis"], answers["belay"]) if pair[0] != pair[1]])
    with Daemon(shards=1) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("CONFIG", "GET", "slowlog*") == [b"slowlog-log-slower-than", b"10000", b"slowlog-max-len", b"128"],
                  "Redis's defaults")
            check(client.ask("CONFIG", "SET", "slowlog-max-len", 100001) ==
                  Error(b"ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - argument must be between 0 "
                        b"and 100000 inclusive"), "more than there may be")


def test_an_entry():
    """Its six parts; which entries GET gives; RESET keeps the ids; the oldest go."""
    with both() as servers:
        for name, port in servers:
            with Client(port) as client:
                client.ask("CLIENT", "SETNAME", "tester")
                before = int(time.time())
                check(client.ask("SET", "k", "v") == b"OK", "set")
                entry = client.ask("SLOWLOG", "GET", 1)[0]
                after = int(time.time())
                check(len(entry) == 6 and entry[3] == [b"SET", b"k", b"v"], f"{name}: {entry}")
                check(before - 1 <= entry[1] <= after + 1 and 0 <= entry[2] < 10_000_000, f"{name}: {entry}")
                check(entry[4] == b"127.0.0.1:%d" % client.socket.getsockname()[1], f"{name}: {entry}")
                check(entry[5] == b"tester", f"{name}: {entry}")
                for i in range(20):
                    client.ask("GET", i)
                check(len(client.ask("SLOWLOG", "GET")) == 10 and len(client.ask("SLOWLOG", "GET", 15)) == 15, "how many")
                all_of_them = client.ask("SLOWLOG", "GET", -1)
                ids = [entry[0] for entry in all_of_them]
                check(ids == list(range(ids[0], ids[0] - len(ids), -1)), f"{name}: {ids}")
                check(client.ask("SLOWLOG", "LEN") == len(ids) + 1, "and the GET itself")
                check(client.ask("SLOWLOG", "RESET") == b"OK", "reset")
                check([entry[3] for entry in client.ask("SLOWLOG", "GET")] == [[b"SLOWLOG", b"RESET"]], "itself is after it")
                check(client.ask("SLOWLOG", "GET", 1)[0][0] > ids[0], "ids go on")
                check(client.ask("CONFIG", "SET", "slowlog-max-len", 5) == b"OK", "five")
                for i in range(20):
                    client.ask("GET", i)
                check(entries(client) == [[b"GET", b"%d" % i] for i in range(15, 20)], f"{name}: {entries(client)}")
                check(client.ask("CONFIG", "SET", "slowlog-max-len", 0) == b"OK" and client.ask("SLOWLOG", "GET") == [], "none")
                check(client.ask("CONFIG", "SET", "slowlog-max-len", 100, "slowlog-log-slower-than", -1) == b"OK", "off")
                client.ask("SLOWLOG", "RESET")
                client.ask("GET", "k")
                check(client.ask("SLOWLOG", "LEN") == 0, "nothing is logged")


@long_but_for_threads
def test_one_log_of_all_threads():
    """Connections on all threads, keys of all shards: each command is in it once, ids follow each other."""
    each, talkers = 200, 8
    with Daemon(shards=SHARDS, settings=("resp.slowlog_log_slower_than=0", "resp.slowlog_max_len=100000")) as daemon:
        daemon.start()
        port = port_of(daemon)

        def talk(number):
            with Client(port) as client:
                client.ask("CLIENT", "SETNAME", f"t{number}")
                for i in range(each):
                    client.send("SET", f"k{number}:{i}", i)
                    client.send("MGET", *(f"k{number}:{j}" for j in range(i % 7 + 1)))
                    client.send("RENAME", f"k{number}:{i}", f"r{number}:{i}")
                for i in range(each):
                    check(client.read() == b"OK", "set")
                    client.read()
                    check(client.read() == b"OK", "renamed")
        threads = [threading.Thread(target=talk, args=(i,)) for i in range(talkers)]
        for thread in threads:
            thread.start()
        with Client(port) as client:
            while any(thread.is_alive() for thread in threads):
                for entry in client.ask("SLOWLOG", "GET", 50):
                    check(len(entry) == 6, entry)

            def whole():  # The last answers may be there before what is said of them.
                entries = client.ask("SLOWLOG", "GET", -1)
                ours = sum(entry[5].startswith(b"t") and entry[3][0] != b"CLIENT" for entry in entries)
                return entries if ours >= talkers * each * 3 else None

            log = wait_for("all are in it", whole, 10)
        for thread in threads:
            thread.join()
        ids = [entry[0] for entry in log]
        check(ids == list(range(len(ids) - 1, -1, -1)), "all ids, once, in order")
        for number in range(talkers):
            mine = [entry[3] for entry in reversed(log) if entry[5] == b"t%d" % number and entry[3][0] != b"CLIENT"]
            wanted = []
            for i in range(each):
                wanted.append([b"SET", b"k%d:%d" % (number, i), b"%d" % i])
                wanted.append([b"MGET", *(b"k%d:%d" % (number, j) for j in range(i % 7 + 1))])
                wanted.append([b"RENAME", b"k%d:%d" % (number, i), b"r%d:%d" % (number, i)])
            check(sorted(mine) == sorted(wanted), f"those of {number}")


def test_what_is_slow():
    """A command that takes long is in it and says how long; those that wait behind it are not."""
    most = 20_000
    with both("10000000") as servers:
        for name, port in servers:
            with Client(port) as client, Client(port) as other:
                for begin in range(0, most, 1000):
                    client.ask("SADD", "many", *(f"m{i}" for i in range(begin, begin + 1000)))
                client.ask("CONFIG", "SET", "slowlog-log-slower-than", 1000)
                client.ask("SLOWLOG", "RESET")
                for _ in range(50):
                    other.send("GET", "nothing")
                    client.send("SMEMBERS", "many")
                    check(len(client.read()) == most, "all of them")
                    check(other.read() is None, "nothing")
                log = [entry for entry in client.ask("SLOWLOG", "GET", -1) if entry[3] == [b"SMEMBERS", b"many"]]
                client.ask("CONFIG", "SET", "slowlog-log-slower-than", 0)
                client.ask("SMEMBERS", "many")
                took = [entry[2] for entry in client.ask("SLOWLOG", "GET", 2) if entry[3] == [b"SMEMBERS", b"many"]][0]
                check(took >= 20, f"{name}: {took} us for {most} members")
                check(all(entry[2] >= 1000 for entry in log), f"{name}: {log}")
                check(b"GET" not in [entry[3][0] for entry in log], f"{name}: {log}")
                # A command of all keys, in all shards, is one entry with all its time.
                for begin in range(0, most, 1000):
                    words = [word for i in range(begin, begin + 1000) for word in (f"key{i}", i)]
                    wait_for("written", lambda words=words: other.ask("MSET", *words) == b"OK")
                client.ask("SLOWLOG", "RESET")
                check(len(client.ask("KEYS", "*")) == most + 1, "all keys")
                took = [entry[2] for entry in client.ask("SLOWLOG", "GET") if entry[3] == [b"KEYS", b"*"]]
                check(len(took) == 1 and took[0] >= 100, f"{name}: {took}")


def test_pipelines():
    """Commands that are put off and served again are logged once; SLOWLOG tells of all that was asked before it."""
    with Daemon(shards=SHARDS, settings=("resp.slowlog_log_slower_than=0", "resp.slowlog_max_len=10000", "limits.in_flight=8")) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            client.ask("HELLO", 3)
            value = b"v" * 100_000
            for i in range(10):
                client.ask("SET", f"k{i}", value)
            client.ask("SLOWLOG", "RESET")
            sent = [[b"SLOWLOG", b"RESET"]]
            for i in range(50):
                steps = [[b"GET", b"k%d" % (i % 10)], [b"MGET", b"k%d" % i, b"none"], [b"SUBSCRIBE", b"c"], [b"PUBLISH", b"c%d" % i, b"m"],
                         [b"UNSUBSCRIBE", b"c"], [b"SELECT", b"0"], [b"GET", b"none%d" % i], [b"SLOWLOG", b"GET", b"10000"]]
                client.socket.sendall(b"".join(b" ".join(step) + b"\r\n" for step in steps))
                answers = [client.read() for _ in steps]
                check(answers[0] == value and answers[2] == [b"subscribe", b"c", 1], f"{i}: {answers[1:]}")
                log = [entry[3] for entry in reversed(answers[-1])]
                check(sorted(log) == sorted(sent + steps[:-1]), f"{i}: {log[-10:]}")
                sent += steps


def test_transactions():
    """EXEC is one entry here, with the time of all it did."""
    with Daemon(shards=SHARDS, settings=("resp.slowlog_log_slower_than=0",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for step in (("SLOWLOG", "RESET"), ("MULTI",), ("SET", "{t}a", 1), ("GET", "{t}b"), ("EXEC",),
                         ("MULTI",), ("PING",), ("PUBLISH", "c", "m"), ("EXEC",), ("EXEC",)):
                client.ask(*step)
            check(entries(client) == [[b"SLOWLOG", b"RESET"], [b"MULTI"], [b"EXEC"], [b"MULTI"], [b"EXEC"], [b"EXEC"]],
                  entries(client))


def test_answered_after_the_disk():
    """A write that is answered once it is on the disk is logged then, once."""
    with Daemon(shards=SHARDS, settings=('policy "".ack=disk', "resp.slowlog_log_slower_than=0")) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for i in range(20):
                client.send("SET", f"k{i}", i)
            for i in range(20):
                check(client.read() == b"OK", "written")
            check(sorted(entries(client)) == sorted([b"SET", b"k%d" % i, b"%d" % i] for i in range(20)), "each")


def test_settings_of_the_node():
    """In the configuration, as belayctl shows them, and what is wrong there."""
    with Daemon(settings=("resp.slowlog_log_slower_than=77", "resp.slowlog_max_len=5")) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("CONFIG", "GET", "slowlog*") == [b"slowlog-log-slower-than", b"77", b"slowlog-max-len", b"5"], "both")
        for key, value in (("slowlog_log_slower_than", "77"), ("slowlog_max_len", "5")):
            shown = daemon.run("belayctl", "config", "get", f"resp.{key}")
            check(shown.strip() == value, f"{key}: {shown}")
    for setting in ("resp.slowlog_log_slower_than=-2", "resp.slowlog_max_len=100001"):
        with Daemon(settings=(setting,)) as daemon:
            daemon.launch()
            check(daemon.wait() == 2 and setting.split("=")[0] in daemon.log(), daemon.log())


if __name__ == "__main__":
    run_cases(__name__)
