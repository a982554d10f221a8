"""Requests of few bytes that ask for much: none takes memory without bound, or a shard for itself for long."""

import native
from cases import long, run_cases
from cluster import Cluster
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, Error, command, port_of

MIB = 1 << 20
FIELDS = 65536
TOO_LARGE = b"ERR the reply would be larger than 16 MiB, or than session_max_bytes of its policy; ask for less at once"
FRAME_TOO_LARGE = 21
SETTINGS = ['policy "".session_max_bytes=2MiB']


def peak_bytes(daemon):
    """The most memory that it ever had."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def short(answer):
    return repr(answer if isinstance(answer, int) or answer is None else answer[:2])[:100]


def test_same_field_many_times():
    """A field of one MiB may be named a million times, which would make a reply of a TiB, by either protocol; and so may random
    members of a set. It is refused, with the connection as it was; and what is within the bound is told."""
    with Daemon(settings=SETTINGS) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, native.Connection(daemon.native) as connection:
            value = b"v" * MIB
            check(client.ask("HSET", "h", "f", value) == 1, "HSET")
            check(client.ask("SADD", "s", "m" * 60000) == 1, "SADD")
            for words in (("HMGET", "h", *["f"] * 300), ("HGETEX", "h", "PERSIST", "FIELDS", 300, *["f"] * 300),
                          ("SRANDMEMBER", "s", -4000)):
                answer = client.ask(*words)
                check(isinstance(answer, Error) and answer == TOO_LARGE, (words[0], short(answer)))
            check(client.ask("HMGET", "h", *["f"] * 12) == [value] * 12, "12 MiB of them")
            head, _ = connection.call(native.GET, {1: b"h", 2: 2}, native.string(b"f") * 300)
            check(head.get(1) == FRAME_TOO_LARGE, head)
            head, found = connection.call(native.GET, {1: b"h", 2: 2}, native.string(b"f") * 2)
            check(head.get(1, 0) == 0 and found == (b"\1" + native.string(value)) * 2, head)
        check(peak_bytes(daemon) < 1000 * MIB * SLOWNESS, f"{peak_bytes(daemon) >> 20} MiB")
        wait_for("its memory is free", lambda: daemon.rss_bytes() < 100 * MIB * SLOWNESS)


def test_session_of_more():
    """A session that is larger by its policy is told as a whole, and no more than that."""
    with Daemon(settings=['policy "large:".session_max_bytes=24MiB', "limits.frame=32MiB"]) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, native.Connection(daemon.native) as connection:
            for number in range(20):
                check(client.ask("HSET", "large:h", f"f{number:02}", b"v" * MIB) == 1, "HSET")
            answer = client.ask("HGETALL", "large:h")
            check(len(answer) == 40 and set(answer[1::2]) == {b"v" * MIB}, short(answer))
            names = [f"f{number:02}".encode() for number in range(20)]
            check(client.ask("HMGET", "large:h", *names) == [b"v" * MIB] * 20, "by name")
            answer = client.ask("HMGET", "large:h", *names, *names)
            check(isinstance(answer, Error) and answer == TOO_LARGE, short(answer))
            asked = b"".join(native.string(name) for name in names)
            head, found = connection.call(native.GET, {1: b"large:h", 2: 2}, asked)
            check(head.get(1, 0) == 0 and len(found) > 20 * MIB, head)
            head, _ = connection.call(native.GET, {1: b"large:h", 2: 2}, asked * 2)
            check(head.get(1) == FRAME_TOO_LARGE, head)


def test_through_another_node():
    """What a node answers for another one fits between them, or is refused in the same words."""
    with Cluster(2, settings=[*SETTINGS, "cluster.replicas=1"]) as cluster:
        cluster.start()
        value = b"v" * MIB
        with Client(port_of(cluster[0])) as client:
            for key in ("h0", "h1", "h2", "h3", "h4", "h5"):  # Both nodes have some of them.
                check(client.ask("HSET", key, "f", value) == 1, "HSET")
                check(client.ask("HMGET", key, *["f"] * 4) == [value] * 4, "4 MiB of them")
                answer = client.ask("HMGET", key, *["f"] * 80)
                check(isinstance(answer, Error) and answer == TOO_LARGE, short(answer))
            check(len({cluster.owners(b"h%d" % i)[0].name for i in range(6)}) == 2, "keys of one node only")


def test_large_transaction():
    """What EXEC would answer with more than that it does not do at all; and one that goes over a large session again and again is
    refused, as nobody else would be served meanwhile."""
    with Daemon(settings=SETTINGS) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("SET", "{k}large", b"v" * MIB) == b"OK", "SET")

            def transaction(*commands):
                client.send("MULTI")
                for words in commands:
                    client.send(*words)
                client.send("EXEC")
                answers = [client.read() for _ in range(len(commands) + 2)]
                check(set(answers[1:-1]) == {b"QUEUED"}, answers[1:-1])
                return answers[-1]
            write = ("SET", "{k}written", 1)
            answer = transaction(write, *[("GET", "{k}large")] * 200)
            check(isinstance(answer, Error) and answer == TOO_LARGE, short(answer))
            answer = transaction(write, *[("APPEND", "{k}large", "x")] * 400)
            check(isinstance(answer, Error) and b"more than 256 MiB of sessions" in answer, short(answer))
            check(client.ask("EXISTS", "{k}written") == 0 and client.ask("STRLEN", "{k}large") == MIB, "nothing was done")
            answer = transaction(write, *[("GET", "{k}large")] * 12)
            check(answer[0] == b"OK" and answer[1:] == [b"v" * MIB] * 12, "what is within the bounds")
            answer = transaction(*[("INCR", "{k}count")] * 20000)
            check(answer == list(range(1, 20001)), "many small ones")


def test_all_fields_by_name():
    """To look up all fields of the largest hash or set takes a shard some milliseconds, in whatever order they are named, and not
    the time of a walk for each of them (half a minute)."""
    names = [b"%x" % (number * 40503 % FIELDS) for number in range(FIELDS)]
    with Daemon(settings=SETTINGS) as daemon, Client(port_of(daemon.start())) as client:
        for part in range(0, FIELDS, 8192):
            some = names[part:part + 8192]
            check(client.ask("HSET", "h", *(word for name in some for word in (name, name))) == 8192, "HSET")
            check(client.ask("SADD", "s", *some) == 8192, "SADD")
        before = daemon.cpu_seconds()
        absent = [b"-"] * 10
        check(client.ask("HMGET", "h", *names, *absent) == names + [None] * 10, "HMGET")
        check(client.ask("SMISMEMBER", "s", *names, *absent) == [1] * FIELDS + [0] * 10, "SMISMEMBER")
        check(client.ask("HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", FIELDS, *(word for name in names for word in (name, "1"))) == 1,
              "HSETEX")
        check(client.ask("HGETEX", "h", "EX", 100, "FIELDS", FIELDS, *names) == [b"1"] * FIELDS, "HGETEX")
        found = client.ask("SRANDMEMBER", "s", -FIELDS)
        check(len(found) == FIELDS and set(found) <= set(names) and len(set(found)) > FIELDS // 2, "SRANDMEMBER")
        with native.Connection(daemon.native) as connection:
            head, value = connection.call(native.GET, {1: b"h", 2: 2}, b"".join(map(native.string, names)))
            check(head.get(1, 0) == 0 and value == b"\1\1" b"1" * FIELDS, head)
        took = daemon.cpu_seconds() - before
        check(took < 4 * SLOWNESS, f"{took:.1f} s of CPU")


def test_many_keys():
    """As many keys as a command may have, all of a slot of another shard, and long: its queue takes only some at a time."""
    with Daemon(shards=2) as daemon:
        daemon.start()
        for tag in "abcdef":  # Of either shard, wherever the connection is.
            with Client(port_of(daemon)) as client:
                keys = [f"{{{tag}}}{'k' * 400}{number}" for number in range(1024)]
                values = [b"%d" % number + b"v" * 500 for number in range(1024)]
                client.send("MSET", *(word for key, value in zip(keys, values) for word in (key, value)))
                client.send("MSET", keys[0], "before", *[word for key in keys[1:1023] for word in (key, "x" * 1000)], keys[0], "last")
                client.send("MGET", *keys)
                client.send("WATCH", *keys[:100])
                client.send("DEL", *keys)
                client.send("EXISTS", keys[0])
                answers = [client.read() for _ in range(6)]
                check(answers[:2] == [b"OK"] * 2 and answers[3:] == [b"OK", 1024, 0], [short(answer) for answer in answers])
                check(answers[2] == [b"last", *[b"x" * 1000] * 1022, values[1023]], short(answers[2]))
        with native.Connection(daemon.native) as connection:
            names = [b"{%s}%d" % (tag, number) + b"n" * 400 for tag in (b"a", b"b") for number in range(512)]
            head, value = connection.call(native.GET_MANY, {}, b"".join(map(native.string, names)))
            check(head.get(1, 0) == 0 and value.count(b"no such session") == 1024, (head, value[:100]))


@long
def test_many_large_gets():
    """Ten clients ask for 14 sessions of 1 MB each in one command, four times, and read nothing for a while: not all of that is put
    together at once."""
    with Daemon(shards=2) as daemon:
        daemon.start()
        keys = [f"large{number}" for number in range(14)]
        values = [b"%02d" % number * 500000 for number in range(14)]
        with Client(port_of(daemon)) as client:
            for key, value in zip(keys, values):
                check(client.ask("SET", key, value) == b"OK", "SET")
        before, clients = daemon.rss_bytes(), [Client(port_of(daemon)) for _ in range(10)]
        for client in clients:
            client.socket.sendall(command(["MGET", *keys]) * 4)
        for client in clients:
            with client:
                answers = [client.read() for _ in range(4)]
                check(all(answer == values for answer in answers), [short(answer) for answer in answers])
        more = peak_bytes(daemon) - before
        check(more < 320 * MIB * SLOWNESS, f"{more >> 20} MiB")


@long
def test_watched_again():
    """WATCH of a key that is watched takes no more memory, and what was seen of it first counts."""
    with Daemon() as daemon, Client(port_of(daemon.start())) as client:
        client.ask("SET", "k", 1)
        client.ask("WATCH", "k")
        before = daemon.rss_bytes()
        for _ in range(1500):
            answer = client.ask("WATCH", *["k"] * 1024)
            check(answer == b"OK", short(answer))
        more = daemon.rss_bytes() - before
        check(SLOWNESS > 1 or more < 8 * MIB, f"{more >> 20} MiB")  # A sanitizer keeps what was given back for long.
        with Client(port_of(daemon)) as other:
            other.ask("SET", "k", 2)
        client.ask("WATCH", "k")
        check([client.ask(*words) for words in (("MULTI",), ("SET", "k", 3), ("EXEC",))] == [b"OK", b"QUEUED", None], "EXEC")
        check(client.ask("GET", "k") == b"2", "GET")


def test_queued_by_many():
    """Transactions that are never executed do not fill memory: at some point one more command is refused. What ends them gives
    their memory back."""
    with Daemon(shards=1) as daemon:
        daemon.start()
        clients = [Client(port_of(daemon)) for _ in range(40)]
        refused = 0
        for client in clients:
            client.send("MULTI")
            for _ in range(8):
                client.send("SET", "k", b"v" * (MIB - 100))
            answers = [client.read() for _ in range(9)]
            refused += any(answer == b"BUSY too many transactions are being queued; try again" for answer in answers)
        check(0 < refused < 40, refused)
        check(clients[-1].ask("EXEC").startswith(b"EXECABORT"), "EXEC")
        for client in clients[:-1]:
            client.__exit__()
        with clients[-1] as client:
            def goes():
                answers = [client.ask(*words) for words in (("MULTI",), ("SET", "k", 1), ("EXEC",))]
                return answers == [b"OK", b"QUEUED", [b"OK"]]
            wait_for("a transaction goes again", goes)


if __name__ == "__main__":
    run_cases(__name__)
