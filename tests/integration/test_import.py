"""belayctl import against Debian's redis-server: what is copied, what is not, and what may happen meanwhile."""

import os
import signal
import socket
import subprocess
import threading
import time

from cases import long, run_cases
from daemon import SLOWNESS, Daemon, check, program
from redis_kit import Client, Redis, port_of
from test_belayctl import asked, belayctl, keys_of, manual_keys

LARGE = ['policy "".session_max_bytes=32MiB', "limits.frame=48MiB"]


class Gate:
    """A proxy before a server that stops when the client asks for something the n-th time, until let on."""

    def __init__(self, port, pattern, count=1):
        self.port, self.pattern, self.count = port, pattern, count
        self.held, self.open = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = [self.listener]
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.open.set()
        self.cut()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                self.sockets += [client, server]
                for source, to, watched in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pump, args=(source, to, watched), daemon=True).start()
        except OSError:
            pass

    def pump(self, source, to, watched):
        seen = 0
        try:
            while data := source.recv(65536):
                seen += data.count(self.pattern) if watched else 0
                if watched and seen >= self.count and not self.held.is_set():
                    self.held.set()
                    self.open.wait(60)
                to.sendall(data)
        except OSError:
            pass

    def wait(self):
        check(self.held.wait(60), f"{self.pattern} was not asked for")

    def cut(self):
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


class OddRedis:
    """As much of a Redis as an import asks for, with one hash, whose commands are those given."""

    def __init__(self, commands, until_ms):
        self.commands, self.until_ms = commands, until_ms
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def answer(self, words):
        if words[0] == b"COMMAND":
            return b"*1\r\n*1\r\n$1\r\nx\r\n" if words[2] in self.commands else b"*1\r\n*-1\r\n"
        if words[0] not in self.commands and words[0] in (b"PEXPIRETIME", b"HPEXPIRETIME"):
            return b"-ERR unknown command\r\n"
        fields = b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"
        return {
            b"DBSIZE": b":1\r\n", b"SCAN": b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nh\r\n", b"TYPE": b"+hash\r\n",
            b"PTTL": b":60000\r\n", b"PEXPIRETIME": b":%d\r\n" % self.until_ms,
            b"HSCAN": b"*2\r\n$1\r\n0\r\n" + fields, b"HGETALL": fields,
            b"HPEXPIRETIME": b"*2\r\n:%d\r\n:-1\r\n" % self.until_ms,
        }[words[0]]

    def serve(self):
        client, _ = self.listener.accept()
        with client, client.makefile("rb") as lines:
            while first := lines.readline():
                words = []
                for _ in range(int(first[1:])):
                    words.append(lines.read(int(lines.readline()[1:]) + 2)[:-2])
                client.sendall(self.answer(words))
        self.listener.close()


def url(redis, rest=""):
    return f"redis://127.0.0.1:{redis.port}{rest}"


def start(daemon, *arguments):
    return subprocess.Popen([program("belayctl"), "--json", "import", *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "BELAY_SERVER": daemon.native})


READS = {b"string": lambda key: ("GET", key), b"hash": lambda key: ("HGETALL", key),
         b"set": lambda key: ("SMEMBERS", key), b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES")}


def contents(port, database=0, pattern="*"):
    """Every key that Belay may have: its type, its deadline, its value in an order of its own."""
    with Client(port) as client:
        if database:
            client.ask("SELECT", database)
        keys, cursor = set(), b"0"
        while True:
            cursor, found = client.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            keys |= set(found)
            if cursor == b"0":
                break
        keys = sorted(keys)
        types = client.ask_all((("TYPE", key) for key in keys))
        known = [(key, kind) for key, kind in zip(keys, types) if kind in READS]
        times = client.ask_all((("PEXPIRETIME", key) for key, _ in known))
        values = client.ask_all((READS[kind](key) for key, kind in known))
    result = {}
    for (key, kind), until, value in zip(known, times, values):
        if kind == b"hash":
            value = dict(zip(value[::2], value[1::2]))
        elif kind == b"set":
            value = set(value)
        elif kind == b"zset": # The same numbers are written in different ways.
            value = list(zip(value[::2], map(float, value[1::2])))
        result[key] = (kind, until, value)
    return result


def check_same(redis, daemon, database=0, pattern="*", but=()):
    wanted = {key: value for key, value in contents(redis.port, database, pattern).items() if key not in but}
    found = contents(port_of(daemon), database, pattern)
    odd = [key for key in wanted if found.get(key) != wanted[key]]
    check(not odd, f"{len(odd)} of {len(wanted)} differ, such as "
          f"{[(key, wanted[key], found.get(key)) for key in odd[:2]]}"[:2000])
    check(set(found) == set(wanted), f"only in Belay: {list(set(found) - set(wanted))[:5]}")
    return len(wanted)


def fill(client, count):
    """Of all types, most of them strings, with and without deadlines, keys and values of any bytes."""
    now_ms = int(time.time() * 1000)
    commands = [("SET", f"s:{i}", bytes([i % 256]) * (i % 300), "PXAT", now_ms + 1000000 + i)
                for i in range(count)]
    for i in range(0, count // 10):
        commands += [("HSET", f"h:{i}", "", i, "b", b"\0\xff", f"f{i}", "x" * 50), ("SADD", f"t:{i}", "", i, "\n"),
                     ("ZADD", f"z:{i}", i / 7, "a", "-inf", "b", "1e300", ""), ("SET", f"for ever:{i}", i)]
        commands += [("PEXPIREAT", f"{kind}:{i}", now_ms + 3600000 + i) for kind in "htz" if i % 3]
    commands += [("SET", bytes([i, 0, 255, i]), bytes(range(256))) for i in range(2, 256)]
    client.ask_all(commands)


def test_all_types_and_deadlines():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client:
        daemon.start()
        fill(client, 20000)
        client.ask("SET", "later", 1, "EX", 20 * 365 * 86400)
        done = asked(daemon, "import", url(redis))
        with Client(port_of(daemon)) as belay:
            years = belay.ask("TTL", "later") / 86400 / 365
            check(9.9 < years < 10.1, years)
            belay.ask("DEL", "later")
        count = check_same(redis, daemon, but={b"later"}) + 1
        check(done["copied"] == count and done["gone"] == 0 and done["wrong"] == [], done)
        check(done["types"]["zset"] == 2000 and done["sample"]["keys"] == done["sample"]["same"] == 128, done)

        # Again, after changes: of values, of deadlines, of types.
        client.ask("DEL", "later")
        client.ask_all([("SET", "s:1", "now for ever"), ("PEXPIRE", "s:2", 500000), ("HDEL", "h:1", "b"),
                        ("PERSIST", "z:1"), ("DEL", "s:3"), ("HSET", "s:3", "a", "b"), ("DEL", "h:3"),
                        ("SET", "h:3", "no hash"), ("SREM", "t:1", ""), ("DEL", "t:2"), ("ZADD", "t:2", 1, "a")])
        printed, _ = belayctl(daemon, "import", url(redis))
        check(b"sample: 128 of 128 keys are the same on both sides" in printed, printed)
        check_same(redis, daemon)


def test_match_and_databases():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client:
        daemon.start()
        client.ask("SELECT", 3)
        client.ask_all([("SET", f"{kind}:{i}", i, "EX", 1000) for i in range(2000) for kind in "ab"])
        client.ask("SET", b"\x01here it is fine", "v")
        check(asked(daemon, "import", url(redis), "--match", "a:*")["copied"] == 0, "DB 0")
        done = asked(daemon, "import", url(redis, "/3"), "--match", "a:*")
        check(done["copied"] == 2000 and done["database"] == 3, done)
        check_same(redis, daemon, 3, "a:*")
        check(contents(port_of(daemon), 3, "b:*") == {} and contents(port_of(daemon)) == {}, "others")
        asked(daemon, "import", url(redis, "/3"))
        check(check_same(redis, daemon, 3) == 4001, "DB 3")


def refusals(document):
    return {row["reason"]: (row["count"], [example.get("key", example.get("key_hex")) for example in row["examples"]])
            for row in document["wrong"]}


def test_what_is_not_copied():
    with Redis() as redis, Daemon(settings=["policy \"\".session_max_bytes=9MiB"]) as daemon, \
            Client(redis.port) as client:
        daemon.start()
        client.ask_all([("RPUSH", f"list:{i}", "x") for i in range(8)])
        client.ask("XADD", "stream", "*", "a", "b")
        client.ask("SET", b"\x01reserved", "v")
        client.ask("SET", "k" * 513, "v")
        client.ask("SET", "", "v")
        client.ask("SET", "good", "v")
        client.ask("SET", "large", "x" * (10 << 20))
        client.ask("HSET", "long name", "n" * 70000, "v")
        client.ask_all((("HSET", "fields", *(word for i in range(1000) for word in (f"{j}:{i}", "v")))
                        for j in range(66)))
        client.ask_all((("HSET", "steps", i, "x" * (1 << 20)) for i in range(12))) # Refused when it is half done.
        wrong = refusals(asked(daemon, "import", url(redis), expect=1))
        check(wrong["type"][0] == 9, wrong)
        check(wrong["key"][0] == 3 and {"", "\x01reserved"} < set(wrong["key"][1]), wrong)
        check(wrong["limit"][0] == 4 and set(wrong["limit"][1]) == {"large", "long name", "fields", "steps"}, wrong)
        check(set(contents(port_of(daemon))) == {b"good"}, "something else was copied")
        printed, err = belayctl(daemon, "import", url(redis), expect=1)
        check(printed.startswith(b"copied 1 keys"), printed)
        for text in (" (list)", "9 keys: Belay has no such type: ", " and others", "\\x01reserved (begins with",
                     "fields (TOO_MANY_FIELDS)", "steps (SESSION_TOO_LARGE)", "k... (too long)"):
            check(text in err, (text, err))


@long
def test_large_ones_go_in_steps():
    with Redis() as redis, Daemon(settings=LARGE) as daemon, Client(redis.port) as client:
        daemon.start()
        for command in ("HSET", "SADD", "ZADD"):
            for begin in range(0, 65536, 4096):
                numbers = range(begin, begin + 4096)
                client.ask(command, command, *(word for i in numbers for word in {
                    "HSET": (f"field:{i}", f"value:{i}"), "SADD": (f"member:{i}",), "ZADD": (i / 3, f"member:{i}"),
                }[command]))
            client.ask("EXPIRE", command, 5000)
        client.ask_all((("HSET", "heavy", i, os.urandom(500000)) for i in range(40)))
        for _ in range(2):
            done = asked(daemon, "import", url(redis))
            check(done["copied"] == 4 and done["sample"]["same"] == 4, done)
            check_same(redis, daemon)
            client.ask("HDEL", "heavy", *range(30))


def test_writes_meanwhile():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client, \
            Gate(redis.port, b"\r\nSCAN\r\n", 10) as gate:
        daemon.start()
        fill(client, 20000)
        running = start(daemon, gate.url)
        gate.wait()
        client.ask_all([("SET", f"s:{i}", "changed", "EX", 4000) for i in range(0, 20000, 2)])
        client.ask_all([("DEL", f"s:{i}") for i in range(1, 20000, 50)])
        client.ask_all([("SET", f"t:{i}", "no set") for i in range(100)])
        gate.open.set()
        out, err = running.communicate(timeout=60 * SLOWNESS)
        check(running.returncode == 0, (out, err))
        with Client(port_of(daemon)) as belay: # They were copied before; ended sessions stay until told so.
            belay.ask_all([("DEL", f"s:{i}") for i in range(1, 20000, 50)])
        asked(daemon, "import", url(redis))
        check_same(redis, daemon)


def test_what_changed_is_copied_again():
    for side in ("source", "target"):
        with Redis() as redis, Daemon() as daemon, Client(redis.port) as client, \
                Gate(redis.port, b"HGETALL") as gate:
            daemon.start()
            client.ask("HSET", "h", "a", "b")
            running = start(daemon, gate.url)
            gate.wait() # The sample is being read.
            with Client(redis.port if side == "source" else port_of(daemon)) as changing:
                changing.ask("HSET", "h", "a", "c")
            gate.open.set()
            out, err = running.communicate(timeout=60 * SLOWNESS)
            if side == "source":
                check(running.returncode == 0 and b'"changed":1' in out, (out, err))
                check_same(redis, daemon)
            else:
                check(running.returncode == 1 and b'"reason":"differs"' in out and b'"key":"h"' in out, (out, err))


def test_kill_and_run_again():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client, \
            Gate(redis.port, b"\r\nSCAN\r\n", 5) as gate:
        daemon.start()
        fill(client, 8000)
        running = start(daemon, gate.url)
        gate.wait()
        running.send_signal(signal.SIGKILL)
        running.communicate()
        some = len(contents(port_of(daemon)))
        check(0 < some < 8000, some)
        asked(daemon, "import", url(redis))
        check_same(redis, daemon)


def test_the_source_goes():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client:
        daemon.start()
        fill(client, 10000)
        for document in (True, False):
            with Gate(redis.port, b"\r\nSCAN\r\n", 5) as gate:
                words = [] if document else ["--timeout", "1s"]
                running = start(daemon, gate.url, *words)
                gate.wait()
                if document: # Else it only falls silent.
                    gate.cut()
                out, err = running.communicate(timeout=60 * SLOWNESS)
            said = b"the connection to 127.0.0.1:" if document else b"gives no answer within 1s"
            check(running.returncode == 3 and said in out and b'"status":"FAILED"' in out, (out, err))
        with Gate(redis.port, b"\r\nSCAN\r\n", 5) as gate:
            running = subprocess.Popen([program("belayctl"), "-s", daemon.native, "import", gate.url],
                                       stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            gate.wait()
            gate.cut()
            out, err = running.communicate(timeout=60 * SLOWNESS)
        check(running.returncode == 3 and b"import: the connection to" in err and b"Run it again" in err, (out, err))
        asked(daemon, "import", url(redis))
        check_same(redis, daemon)


def test_the_target_goes():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client, \
            Gate(redis.port, b"\r\nSCAN\r\n", 5) as gate:
        daemon.start()
        fill(client, 10000)
        running = start(daemon, gate.url)
        gate.wait()
        daemon.kill()
        gate.open.set()
        out, err = running.communicate(timeout=60 * SLOWNESS)
        check(running.returncode == 3 and b'"status":"' in out, (out, err))
        _, err = belayctl("127.0.0.1:1", "import", url(redis), expect=3)
        check("cannot connect to" in err, err)


@long
def test_busy():
    """What the server is too busy for is sent again when it asks to."""
    with Redis() as redis, Daemon(settings=["limits.queue_delay=1ms"], shards=1) as daemon, \
            Client(redis.port) as client:
        daemon.start()
        client.ask_all((("SET", f"s:{i}", bytes(5000), "EX", 1000) for i in range(20000)))
        asked(daemon, "import", url(redis))
        check(asked(daemon, "status")["refused"]["busy"] > 0, "it was never busy")
        check(daemon.stop() == 0, "stopping")
        daemon.settings.append("limits.queue_delay=10s") # Reading it all is not to be refused.
        daemon.start()
        check_same(redis, daemon)


def test_passwords_and_addresses():
    with Redis(settings=[("requirepass", "se:cret @/")]) as redis, Daemon() as daemon:
        daemon.start()
        port, good = redis.port, "se:cret%20%40%2f"
        for user in ("", "default"):
            check(asked(daemon, "import", f"redis://{user}:{good}@127.0.0.1:{port}/2")["copied"] == 0, user)
        for wrong, text in ((":wrong@", "WRONGPASS"), ("", "REDISCLI_AUTH"), ("nobody:x@", "WRONGPASS")):
            _, err = belayctl(daemon, "import", f"redis://{wrong}127.0.0.1:{port}", expect=1)
            check(text in err and f"127.0.0.1:{port} refuses" in err, err)
        os.environ["REDISCLI_AUTH"] = "se:cret @/"
        try:
            asked(daemon, "import", url(redis))
        finally:
            del os.environ["REDISCLI_AUTH"]
        _, err = belayctl(daemon, "import", "redis://127.0.0.1:1", expect=3)
        check("cannot connect to 127.0.0.1:1: " in err, err)
        for odd in ("127.0.0.1:1", "rediss://127.0.0.1:1", "redis://127.0.0.1:1/16", "redis://127.0.0.1:1/x",
                    "redis://127.0.0.1:99999", "redis://127.0.0.1:", "redis://", "redis://@127.0.0.1:1",
                    "redis://[::1:1"):
            belayctl(daemon, "import", odd, expect=2)
        belayctl(daemon, "import", expect=2)


def test_policies():
    settings = ['policy "kept:".absolute_ttl=1h', 'policy "kept:x".idle_ttl=1h', 'policy "ended:".no_resurrect=yes']
    with Redis() as redis, Daemon(settings=settings) as daemon, Client(redis.port) as client, \
            Client(port_of(daemon.start())) as belay:
        client.ask_all([("SET", "kept:1", "v"), ("SET", "kept:x", "v"), ("SET", "kept:2", "v", "EX", 7200),
                        ("SET", "ended:1", "v"), ("SET", "ended:2", "v"), ("SET", "ended:3", "v")])
        asked(daemon, "import", url(redis))
        times = belay.ask_all([("TTL", "kept:1"), ("TTL", "kept:x"), ("TTL", "kept:2"), ("TTL", "ended:1")])
        check(3500 < times[0] <= 3600 and 3500 < times[1] <= 3600 and 7100 < times[2] <= 7200, times)
        check(times[3] == -1, times)
        # What was ended in Belay stays so; what is of another type by now is begun anew.
        belay.ask("DEL", "ended:1")
        client.ask_all([("DEL", "ended:2"), ("HSET", "ended:2", "a", "b")])
        wrong = refusals(asked(daemon, "import", url(redis), expect=1))
        check(wrong == {"ended": (1, ["ended:1"])}, wrong)
        check(belay.ask_all([("EXISTS", "ended:1"), ("HGET", "ended:2", "a"), ("GET", "ended:3")]) == [0, b"b", b"v"],
              "ended")


def test_older_and_newer_sources():
    with Daemon() as daemon:
        daemon.start()
        until_ms = int(time.time() * 1000) + 600000
        source = OddRedis({b"PEXPIRETIME", b"HPEXPIRETIME"}, until_ms)
        check(asked(daemon, "import", source.url)["sample"]["same"] == 1, "7.4")
        shown = asked(daemon, "session", "inspect", "h")
        check(shown["absolute_ms"] == until_ms, shown)
        check([field["deadline_ms"] for field in shown["fields"]] == [until_ms, 0], shown)
        before = time.time() * 1000
        check(asked(daemon, "import", OddRedis(set(), 0).url)["sample"]["same"] == 1, "6")
        shown = asked(daemon, "session", "inspect", "h")
        check(before + 59999 < shown["absolute_ms"] < time.time() * 1000 + 60001, shown)
        check([field["deadline_ms"] for field in shown["fields"]] == [0, 0], shown)


def test_manual_names_every_key():
    with Redis() as redis, Daemon() as daemon, Client(redis.port) as client:
        daemon.start()
        client.ask_all([("RPUSH", "list", "x"), ("SET", "s", "v")])
        said, written = keys_of(asked(daemon, "import", url(redis), expect=1)), manual_keys()["import"]
        check(said == written, f"not in the manual {said - written}, only there {written - said}")


if __name__ == "__main__":
    run_cases(__name__)
