"""Redis clients on the port of the native protocol: the answers are those of Redis, the sessions those of libbelay."""

import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import native
from aspnet_scripts import HASHES, STRINGS
from cases import run_cases
from daemon import SLOWNESS, Daemon, check
from redis_kit import Client, Error, Redis, port_of


def scan(client, *options):
    keys, cursor = [], b"0"
    while True:
        cursor, some = client.ask("SCAN", cursor, *options)
        keys += some
        if cursor == b"0":
            return keys


def test_the_same_sessions():
    """A string is a blob, a hash a map; and what libbelay writes is read as such."""
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, native.Connection(daemon.native) as connection:
            client.ask("SETEX", "text", 100, "from redis")
            check(connection.get(b"text") == b"from redis", "a blob")
            connection.put(b"blob", b"from libbelay")
            check(client.ask("GET", "blob") == b"from libbelay", "a string")
            client.ask("HSET", "form", "user", "ada", "cart", "rope")
        shown = json.loads(daemon.run("belayctl", "session", "get", "form", "--json"))
        check("ada" in json.dumps(shown), shown)
        daemon.run("belayctl", "session", "put", "fields", "a=1", "b=2")
        with Client(port_of(daemon)) as client:
            check(client.ask("HMGET", "fields", "a", "b") == [b"1", b"2"], "a hash")
            check(client.ask("GET", "fields").startswith(b"WRONGTYPE"), "not a string")


RELEASE = 'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'
REFRESH = RELEASE.replace('"del",KEYS[1]', '"expire",KEYS[1],ARGV[2]')
ADD = "return redis.call('exists',KEYS[1])<1 and redis.call('setex',KEYS[1],ARGV[2],ARGV[1])"
READ = "return redis.call('HMGET', KEYS[1], unpack(ARGV))"
WRITE = """
                redis.call('HMSET', KEYS[1], 'absexp', ARGV[1], 'sldexp', ARGV[2], 'data', ARGV[4])
                if ARGV[3] ~= '-1' then
                  redis.call('EXPIRE', KEYS[1], ARGV[3])
                end
                return 1"""
OURS = """
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        """
PYTHON_RELEASE = OURS + """redis.call('del', KEYS[1])
        return 1
    """
PYTHON_EXTEND = OURS + """local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == "0" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1
    """
PYTHON_REACQUIRE = OURS + """redis.call('pexpire', KEYS[1], ARGV[2])
        return 1
    """


def test_scripts():
    """The fixed scripts of session frameworks do what they do in Redis, by text and by SHA1; others are named."""
    steps = []
    for script in (RELEASE, PYTHON_RELEASE, RELEASE.replace("\n", " ").replace('"', "'")):
        steps += [(script, "lock", "me"), ("SET", "lock", "me"), (script, "lock", "other"), (script, "lock", "me"),
                  ("EXISTS", "lock")]
    for script in (REFRESH, PYTHON_REACQUIRE):
        steps += [("SET", "lock", "me"), (script, "lock", "other", 100), (script, "lock", "me", 1000_000),
                  ("TTL", "lock"), (script, "lock", "me", 0), ("EXISTS", "lock")]
    steps += [(PYTHON_EXTEND, "lock", "me", 1000, 0), ("SET", "lock", "me"), (PYTHON_EXTEND, "lock", "me", 1000, 0),
              ("EXPIRE", "lock", 100), (PYTHON_EXTEND, "lock", "me", 100_400, 0), ("TTL", "lock"),
              (PYTHON_EXTEND, "lock", "me", 50_400, 1), ("TTL", "lock"), ("DEL", "lock")]
    steps += [(ADD, "c", "v", 100), ("GET", "c"), (ADD, "c", "w", 100), ("GET", "c"), ("TTL", "c"), (RELEASE, "h", "x")]
    steps += [(WRITE, "h", 1, 2, -1, "data"), (READ, "h", "data", "absexp", "none"), ("TTL", "h"),
              (WRITE, "h", 1, 2, 100, "more"), (READ, "h", "data"), ("TTL", "h"), (RELEASE, "h", "x")]
    with Redis() as redis, Daemon(shards=2) as daemon:
        daemon.start()
        for by_sha1 in (False, True):
            with Client(redis.port) as theirs, Client(port_of(daemon)) as ours:
                answers = []
                for client in (theirs, ours):
                    client.ask("DEL", "c", "h", "lock")
                    answers.append([])
                    for step in steps:
                        words = step
                        if " " in step[0] and by_sha1:
                            sha1 = client.ask("SCRIPT", "LOAD", step[0])
                            check(client.ask("SCRIPT", "EXISTS", sha1, "0" * 40) == [1, 0], step)
                            words = ("EVALSHA", sha1, 1, *step[1:])
                        elif " " in step[0]:
                            words = ("EVAL", step[0], 1, *step[1:])
                        answers[-1].append(client.ask(*words))
                for step, their, our in zip(steps, *answers):
                    check(their == our or (isinstance(their, Error) and isinstance(our, Error)),
                          f"{step}: {their!r}, here {our!r}")
        with Client(port_of(daemon)) as client:
            answer = client.ask("EVAL", "return 1", 0)
            check(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db" in answer and b"phpredis" in answer, answer)
            check(client.ask("EVALSHA", "0" * 40, 1, "k").startswith(b"NOSCRIPT"), "not known")
            check(isinstance(client.ask("EVAL", RELEASE, 2, "a", "b"), Error), "one key")
            check(isinstance(client.ask("EVAL", RELEASE, "x", "a"), Error), "no number")
            sha1 = b"b70c2384248f88e6b75b9f89241a180f856ad852"
            check(client.ask("EVALSHA", sha1, 1, "k", "token") == 0, "phpredis need not send it")


def test_aspnet_sessions():
    """The session state provider of ASP.NET: what its scripts answer and leave is what they do in Redis."""
    lock, data, left = "{app_1}_Write_Lock", "{app_1}_Data", "{app_1}_Internal"
    look = [("TTL", lock), ("TTL", data), ("TTL", left), ("GET", lock), ("TYPE", data), ("TYPE", left)]

    def life(texts, new, saved, removed):
        def run(name, keys, *arguments):
            return ("EVAL", texts[name], len(keys), *keys, *arguments)
        three, two = (lock, data, left), (data, left)
        return [step for script in (
            run("read", three), run("lock", three, "1", 90), run("lock", three, "2", 90), run("lock", three, "1", 90),
            run("update", two, 100), run("set", two, *new), run("read", three), run("release", three, "2", 50),
            run("release", three, "1", 50), run("read", three), run("update", two, 900), run("lock", three, "3", 60),
            run("save", three, "4", 700, *saved), run("save", three, "3", 700, *saved), run("read", three),
            run("lock", three, "5", 60), run("remove", three, "6"), *removed(run, three), run("read", three),
            run("save", three, "7", 800, *saved), run("lock", three, "8", 60), run("save", three, "8", 800, *saved),
            ("SET", left, "no number") if texts is STRINGS else ("HSET", left, "SessionTimeout", "no number"),
            run("lock", three, "9", 60), run("update", two, 5), ("DEL", lock, left, data),
            run("lock", three, "x" * 600, 60), run("lock", three, "x" * 600, 60), ("DEL", lock),
            ("SADD", data, "of another type"), run("lock", three, "a", 60), ("DEL", lock, data, left),
        ) for step in (script, *look)]

    plain = life(STRINGS, ("the session", 1200), (0, 9, 8, 1, 9, 10, "SessionState", "changed"),
                 lambda run, keys: (run("remove", keys, "5"), run("remove", keys, "")))
    hashed = life(HASHES, (6, 1200, "a", "1", "b", "2"), (1, 9, 9, 1, 10, 11, "a", "c", "3"),
                  lambda run, keys: (run("remove", keys, "5"),))
    with Redis() as redis, Daemon(shards=3) as daemon:
        daemon.start()
        for steps in (plain, hashed):
            for protocol in (2, 3):
                with Client(redis.port) as theirs, Client(port_of(daemon)) as ours:
                    theirs.ask("HELLO", protocol)
                    ours.ask("HELLO", protocol)
                    for step in steps:
                        their, our = theirs.ask(*step), ours.ask(*step)
                        check(their == our or (isinstance(their, Error) and isinstance(our, Error)),
                              f"{step}: {their!r}, here {our!r}")
        with Client(port_of(daemon)) as client:
            text = STRINGS["set"]
            check(client.ask("EVAL", text, 1, data, "x", 1).startswith(b"ERR wrong number of keys"), "two keys")
            answers = [client.ask("EVAL", text, 2, "a", f"b{i}", "x", 1) for i in range(20)]
            check(any(answer != 1 and answer.startswith(b"CROSSSLOT") for answer in answers), "of one shard")
            sha1 = client.ask("SCRIPT", "LOAD", text.replace("\n", "\r\n"))
            check(client.ask("EVALSHA", sha1, 2, data, left, "by sha1", 77) == 1, "as StackExchange.Redis sends it")
            check(client.ask("GET", data) == b"by sha1" and client.ask("TTL", left) == 77, "done")


def test_order_of_replies():
    """Whatever shard a key is at and whatever a write waits for, replies come in the order of the requests."""
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with Daemon(shards=3, config=None, settings=("storage.log_interval=50ms",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for _ in range(30):
                wanted, sent = [], bytearray()
                values = {}
                for _ in range(chance.randrange(1, 400)):
                    key = b"k%d" % chance.randrange(60)
                    kind = chance.randrange(5)
                    if kind == 0:
                        values[key] = b"v" * chance.randrange(1, 3000)
                        words, answer = (b"SET", key, values[key]), b"OK"
                    elif kind == 1:
                        words, answer = (b"GET", key), values.get(key)
                    elif kind == 2:
                        words, answer = (b"ECHO", key), key
                    elif kind == 3:
                        keys = [b"k%d" % chance.randrange(60) for _ in range(5)]
                        words, answer = (b"MGET", *keys), [values.get(one) for one in keys]
                    else:
                        words, answer = (b"DEL", key), int(values.pop(key, None) is not None)
                    sent += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
                    wanted.append((words, answer))
                while sent:
                    size = chance.choice((1, 7, 100, 4096, 100000))
                    client.socket.sendall(sent[:size])
                    del sent[:size]
                for words, answer in wanted:
                    came = client.read()
                    check(came == answer, f"{words}: {came!r}, not {answer!r}")
                for i in range(60):
                    client.ask("DEL", f"k{i}")


def test_pieces():
    """Arrays and lines of all sizes, cut anywhere: each request is found whole, and none takes what is the next one's."""
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with Daemon(shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for _ in range(60):
                wanted, sent = [], bytearray()
                for _ in range(chance.randrange(1, 60)):
                    value = b"%d" % chance.randrange(10) * chance.choice((1, 5, 100, 5000, 16_000, 17_000, 60_000))
                    if chance.randrange(3) == 0:
                        sent += b"ECHO " + value + chance.choice((b"\n", b"\r\n"))
                    elif chance.randrange(3) == 0:
                        sent += b"*3\r\n$4\r\nPING\r\n$%d\r\n%s\r\n$1\r\nx\r\n" % (len(value), value)
                        value = Error(b"ERR wrong number of arguments for 'ping' command")
                    else:
                        sent += b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(value), value)
                    wanted.append(value)
                sender = threading.Thread(target=send_pieces, args=(client.socket, bytes(sent), chance.randrange(1 << 32)))
                sender.start()
                for value in wanted:
                    came = client.read()
                    check(came == value and type(came) is type(value), f"{came[:30]!r}, not {value[:30]!r} of {len(value)}")
                sender.join()


def send_pieces(connection, sent, seed):
    chance, at = random.Random(seed), 0
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while at < len(sent):
        size = chance.choice((1, 7, 100, 4096, 5000, 40_000, 200_000))
        connection.sendall(sent[at:at + size])
        at += size


def test_order_with_a_full_output():
    """The same where answers are large, and come from several shards to a client that reads late."""
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    with Daemon(shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            values = {b"k%d" % i: chance.randbytes(chance.choice((10, 3000, 40_000, 150_000))) for i in range(40)}
            for key, value in values.items():
                check(client.ask("SET", key, value) == b"OK", key)
            for _ in range(10):
                wanted, sent = [], bytearray()
                for _ in range(400):
                    kind, key = chance.randrange(6), chance.choice(list(values))
                    if kind == 0:
                        values[key] = chance.randbytes(chance.choice((10, 3000, 40_000, 150_000)))
                        words, answer = (b"SET", key, values[key]), b"OK"
                    elif kind == 1:
                        words, answer = (b"ECHO", key), key
                    elif kind == 2:
                        words, answer = (b"STRLEN", key), len(values[key])
                    else:
                        words, answer = (b"GET", key), values[key]
                    sent += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
                    wanted.append((words, answer))
                sender = threading.Thread(target=client.socket.sendall, args=(bytes(sent),))
                sender.start()
                for words, answer in wanted:
                    if chance.randrange(20) == 0:
                        time.sleep(0.005)
                    came = client.read()
                    check(came == answer, f"{words[:2]}: {str(came)[:50]}, not {str(answer)[:50]}")
                sender.join()


def test_order_of_large_answers():
    """Writes and large reads of few keys of other shards, sent bit by bit: a read sees the write before it, not the one behind.
    (An answer that is too large to come unasked is asked for again, and what follows must not overtake it.)"""
    seed = int(os.environ.get("BELAY_SEED", time.time_ns()))
    print(f"BELAY_SEED={seed}")
    chance = random.Random(seed)
    keys, values = [b"k%d" % i for i in range(8)], {}
    with Daemon(shards=3) as daemon:
        daemon.start()
        for _ in range(5):
            with Client(port_of(daemon)) as client:
                client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for _ in range(20):
                    asked = [(b"SET", chance.choice(keys), chance.randbytes(8) + b"v" * chance.choice((10, 5000, 20_000)))
                             if chance.randrange(3) == 0 else (b"GET", chance.choice(keys)) for _ in range(400)]
                    sent = [b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words) for words in asked]
                    sender = threading.Thread(target=send_some, args=(client.socket, sent, chance.randrange(1 << 32)))
                    sender.start()
                    for words in asked:
                        came = client.read()
                        if words[0] == b"GET":
                            check(came == values.get(words[1]), f"{words}: {(came or b'')[:8]!r}, not {values.get(words[1], b'')[:8]!r}")
                        elif came == b"OK":
                            values[words[1]] = words[2]
                        else:
                            check(came.startswith(b"BUSY the log"), came)  # A slow disk; it was not done.
                    sender.join()


def test_many_large_answers():
    """All that clients with pipelines ask of other shards is answered: what the queues between them do not take waits."""
    with Daemon(shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for i in range(100):
                check(client.ask("SET", f"k{i}", b"%d" % i * 10_000) == b"OK", i)
        failed = []

        def ask(number):
            chance = random.Random(number)
            with Client(port_of(daemon)) as client:
                for _ in range(20):
                    wanted = [chance.randrange(100) for _ in range(64)]
                    client.socket.sendall(b"".join(b"GET k%d\r\n" % i for i in wanted))
                    failed.extend(came[:60] for came, i in ((client.read(), i) for i in wanted) if came != b"%d" % i * 10_000)
        askers = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        check(not failed, f"{len(failed)}, for example {failed[:1]}")


def send_some(connection, requests, seed):
    chance, at = random.Random(seed), 0
    while at < len(requests):
        count = chance.choice((1, 1, 2, 3, 8))
        connection.sendall(b"".join(requests[at:at + count]))
        at += count


def test_databases():
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for database in (0, 3, 15):
                client.ask("SELECT", database)
                check(client.ask("SET", "k", f"in {database}") == b"OK", database)
            for database in (0, 3, 15):
                client.ask("SELECT", database)
                check(client.ask("GET", "k") == b"in %d" % database, database)
                check(scan(client, "MATCH", "k*") == [b"k"] and scan(client) == [b"k"], database)
                check(client.ask("MGET", "k", "l") == [b"in %d" % database, None], database)
            client.ask("SELECT", 0)
            check(b"reserved" in client.ask("SET", b"\x013:k", "x"), "another database's")


def test_requests_are_of_their_time():
    """What was asked before SELECT, RESET or QUIT is answered as it was asked, also where the client reads late."""
    with Daemon(shards=2) as daemon:
        daemon.start()
        values = [bytes([65 + database]) * 150_000 for database in range(2)]
        for last, answer in (("RESET", b"RESET"), ("QUIT", b"OK")):
            with Client(port_of(daemon)) as client:
                for database, value in enumerate(values):
                    client.ask("SELECT", database)
                    for i in range(8):
                        check(client.ask("SET", f"k{i}", value) == b"OK", "set")
                request = b"".join(b"*2\r\n$6\r\nSELECT\r\n$1\r\n%d\r\n" % database +
                                   b"".join(b"*2\r\n$3\r\nGET\r\n$2\r\nk%d\r\n" % (i % 8) for i in range(12))
                                   for database in (0, 1, 0, 1))
                client.socket.sendall(request + b"*1\r\n$%d\r\n%s\r\n" % (len(last), last.encode()))
                for database in (0, 1, 0, 1):
                    check(client.read() == b"OK", "SELECT")
                    for i in range(12):
                        came = client.read()
                        check(came == values[database], f"{i} in {database}: {str(came)[:20]}")
                check(client.read() == answer, last)


def test_scan_misses_nothing():
    with Daemon(shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for i in range(3000):
                client.send("SET", f"user:{i}", i)
            check({client.read() for _ in range(3000)} == {b"OK"}, "all are there")
            client.ask("HSET", "other", "f", "v")
            check(sorted(set(scan(client, "MATCH", "user:*", "COUNT", "100"))) ==
                  sorted(b"user:%d" % i for i in range(3000)), "all users")
            check(scan(client, "TYPE", "hash", "COUNT", "1000") == [b"other"], "the hash")
            check(sorted(set(scan(client, "MATCH", "user:1[0-2]?"))) ==
                  sorted(b"user:%d" % i for i in range(100, 130)), "a class")


def test_many_keys():
    """1,024 keys in one command, and not one more."""
    with Daemon(shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            keys = [f"k{i}" for i in range(1025)]
            pairs = [word for key in keys for word in (key, "v")]
            check(client.ask("MSET", *pairs[:-2]) == b"OK", "all")
            check(client.ask("MSET", *pairs) == Error(b"ERR more than 1024 keys in one command"), "one more")
            check(client.ask("MGET", *keys[:-1]) == [b"v"] * 1024, "each")
            for command in ("DEL", "EXISTS", "MGET", "TOUCH", "UNLINK"):
                check(client.ask(command, *keys) == Error(b"ERR more than 1024 keys in one command"), command)
            check(client.ask("DEL", *keys[:-1]) == 1024, "each")


def test_large_values():
    value = random.Random(1).randbytes(900_000)
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("SET", "big", value) == b"OK", "stored")
            for _ in range(40):
                client.send("GET", "big")
            for _ in range(40):
                check(client.read() == value, "as it was")
            check(b"exceeds maximum" in client.ask("APPEND", "big", value), "more than a session may have")
            check(client.ask("STRLEN", "big") == len(value), "and nothing was lost")


def test_limits_are_named():
    """What a field may be is said where it is refused, and nothing is written."""
    with Daemon(settings=["limits.fields=2"]) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for command in (("HSET", "k", "n" * 65537, "v"), ("SADD", "k", "n" * 65537)):
                answer = client.ask(*command)
                check(isinstance(answer, Error) and "at most 65536 bytes" in str(answer), answer)
            check(client.ask("EXISTS", "k") == 0, "nothing is written")
            answer = client.ask("HSET", "k", "a", "1", "b", "2", "c", "3")
            check(isinstance(answer, Error) and "limits.fields" in str(answer), answer)


def test_slow_readers_are_bounded():
    value = b"v" * 100_000
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as other:
            other.ask("SET", "big", value)
            other.ask("PING")
            before = daemon.rss_bytes()
            with Client(port_of(daemon)) as slow:
                slow.socket.setblocking(False)
                sent = 0
                request = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 1000
                for _ in range(100):
                    try:
                        sent += slow.socket.send(request)
                    except BlockingIOError:
                        break
                time.sleep(0.5)
                check(other.ask("GET", "big") == value, "others go on")
                more = daemon.rss_bytes() - before
                check(more <= 64 << 20, f"{more >> 20} MiB for a reader that does not read")


def test_no_resurrect():
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "belayd.conf"
        config.write_text('[policy "s:"]\nno_resurrect = yes\n')
        with Daemon(config=config) as daemon:
            for life in range(2):
                daemon.start()
                with Client(port_of(daemon)) as client:
                    if life == 0:
                        client.ask("SET", "s:1", "login", "EX", 1000)
                        check(client.ask("DEL", "s:1") == 1, "logged out")
                        client.ask("HSET", "s:h", "f", "v")
                        client.ask("DEL", "s:h")
                    check(client.ask("SET", "s:1", "late") == b"OK", "a late save is no error")
                    check(client.ask("SET", "s:1", "late", "NX") is None, "nor is it stored")
                    check(client.ask("SETEX", "s:1", 10, "late") == b"OK", "with a deadline")
                    check(client.ask("SETNX", "s:1", "late") == 0, "if not there")
                    check(client.ask("APPEND", "s:1", "late") == 0, "more")
                    check(client.ask("HSET", "s:h", "f", "late") == 0, "a field")
                    check(client.ask("INCR", "s:1") == 0, "a number")
                    check(client.ask("EXISTS", "s:1", "s:h") == 0, "gone it stays")
                    check(client.ask("SET", "s:2", "another") == b"OK", "others begin")
                    check(client.ask("GET", "s:2") == b"another", "and are there")
                    client.ask("HSET", f"s:type{life}", "f", "v")
                    check(client.ask("SET", f"s:type{life}", "text") == b"OK", "another type in its place is no end")
                    check(client.ask("GET", f"s:type{life}") == b"text", "so that it is there")
                daemon.kill()


def test_locks_under_no_resurrect():
    """A lock lies under the prefix of its session; one that was let go is taken again at once, a session is not."""
    with Daemon(settings=('policy "".no_resurrect=yes',)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for holder in ("a", "b", "c"):
                check(client.ask("SET", "s:1_LOCK", holder, "NX", "PX", 30000) == b"OK", f"{holder} has the lock")
                check(client.ask("SET", "s:1_LOCK", "other", "NX", "PX", 30000) is None, "nobody else has")
                check(client.ask("EVAL", RELEASE, 1, "s:1_LOCK", "other") == 0, "it is not theirs")
                check(client.ask("EVAL", RELEASE, 1, "s:1_LOCK", holder) == 1, "let go")
            check(client.ask("DEL", "s:1_LOCK") == 0, "gone")
            for texts in (STRINGS, HASHES):
                keys = [f"{{{len(texts['lock'])}}}_{name}" for name in ("Write_Lock", "Data", "Internal")]
                for holder in ("1", "2", "3"):
                    client.ask("EVAL", texts["lock"], 3, *keys, holder, 90)
                    check(client.ask("TYPE", keys[0]) == b"string", f"{holder} has the lock of ASP.NET")
                    client.ask("EVAL", texts["release"], 3, *keys, holder, 50)
                    check(client.ask("TYPE", keys[0]) == b"none", "let go")


def test_fields_of_two_writers():
    """Neither of two writers of different fields loses one."""
    with Daemon() as daemon:
        daemon.start()

        def write(prefix):
            with Client(port_of(daemon)) as client:
                for i in range(500):
                    check(client.ask("HSET", "shared", f"{prefix}{i}", i) == 1, "a new field")
        writers = [threading.Thread(target=write, args=(prefix,)) for prefix in "ab"]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with Client(port_of(daemon)) as client:
            check(client.ask("HLEN", "shared") == 1000, client.ask("HLEN", "shared"))


def test_kill_loses_nothing_acknowledged():
    """At once: what was acknowledged is in the staging, which outlives the process."""
    with Daemon(settings=("storage.log_interval=10s",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for i in range(500):
                check(client.ask("SET", f"k{i}", i, "EX", 1000) == b"OK", i)
        daemon.kill()
        daemon.start()
        with Client(port_of(daemon)) as client:
            for i in range(500):
                check(client.ask("GET", f"k{i}") == b"%d" % i, i)
                check(900 < client.ask("TTL", f"k{i}") <= 1000, "its deadline too")


def test_help():
    """Whatever an error tells to try can be tried."""
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for command in ("CLIENT", "COMMAND", "CONFIG", "MEMORY", "OBJECT", "PUBSUB", "SCRIPT"):
                error = client.ask(command, "nothing").decode()
                check(error == f"ERR unknown subcommand 'nothing'. Try {command} HELP.", error)
                lines = client.ask(command.lower(), "help")
                check(lines[0].startswith(command.encode() + b" <subcommand>"), lines[0])
                check(len(lines) > 4 and lines[-2:] == [b"HELP", b"    Print this help."], lines)


def test_replies_on_demand():
    with Daemon(settings=('policy "d:".ack=disk',), shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            client.send("CLIENT", "REPLY", "OFF")
            client.send("SET", "a", "1")
            client.send("MGET", "a", "b")
            check(client.ask("CLIENT", "REPLY", "ON") == b"OK", "only this is answered")
            client.send("CLIENT", "REPLY", "SKIP")
            client.send("GET", "a")
            check(client.ask("GET", "a") == b"1", "the one after the next")
            # SLOWLOG waits for the SET, which waits for the disk, and is put off.
            client.socket.sendall(b"SET d:1 1\r\nCLIENT REPLY SKIP\r\nSLOWLOG LEN\r\nPING\r\n")
            check([client.read(), client.read()] == [b"OK", b"PONG"], "also where the next is put off")
            # Also what waits for the answers before it, or takes several turns.
            for words in (("PUBLISH", "c", "m"), ("EXEC",), ("WATCH", "a"), ("KEYS", "*"), ("DBSIZE",), ("RENAME", "a", "b"),
                          ("MGET", "a", "b"), ("SCAN", "0"), ("AUTH", "x"), ("SLOWLOG", "LEN"), ("CONFIG", "GET", "*")):
                for _ in range(20):
                    client.send("SET", "a", "1")
                    client.send("CLIENT", "REPLY", "SKIP")
                    client.send(*words)
                    client.send("PING", *words[:1])
                for _ in range(20):
                    check(client.read() == b"OK", words)
                    answer = client.read()
                    check(answer == words[0].encode(), (words, answer))
            client.send("CLIENT", "REPLY", "SKIP")
            client.send("RESET")
            client.send("CLIENT", "REPLY", "OFF")
            check(client.ask("RESET") == b"RESET", "which ends OFF, but is skipped by SKIP")
            client.socket.sendall(b"PING\r\n\r\nPING\r\nCOMMAND INFO no\r\nquit\r\nPING\r\n")
            check(client.raw() == b"+PONG\r\n+PONG\r\n*1\r\n$-1\r\n+OK\r\n", "lines, and nothing after QUIT")


def test_handshakes():
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            for words in (("HELLO", 3), ("CLIENT", "SETINFO", "LIB-VER", "5.0"), ("CLIENT", "SETINFO", "LIB-NAME", "x"),
                          ("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "external-ip"),
                          ("COMMAND",), ("COMMAND", "DOCS"), ("INFO",), ("AUTH", "x"), ("PING",)):
                client.send(*words)
            hello = client.read()
            check(hello[b"proto"] == 3 and hello[b"role"] == b"master", hello)
            check([client.read(), client.read()] == [b"OK", b"OK"], "what the client is")
            check(client.read().startswith(b"ERR unknown subcommand"), "not offered, and not the end")
            commands, documents = client.read(), client.read()
            check(len(commands) == len(documents) > 80, (len(commands), len(documents)))
            check(b"redis_version:7" in client.read(), "INFO")
            check(isinstance(client.read(), Error), "there is no password")
            check(client.read() == b"PONG", "still there")
            check(client.ask("GET", "nothing") is None, "RESP3's null")


def test_benchmark():
    """redis-benchmark runs through. (It takes a BUSY for an error, which a slow build may well say.)"""
    with Daemon() as daemon:
        daemon.start()
        count = int(20000 / SLOWNESS)
        out = subprocess.run(["redis-benchmark", "-p", port_of(daemon), "-n", str(count), "-P", "16", "-q", "-t",
                              "ping,set,get,incr,sadd,hset,spop,mset"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=120, check=False).stdout
        check(out.count("requests per second") >= 8 and "rror" not in out, out)


if __name__ == "__main__":
    run_cases(__name__)
