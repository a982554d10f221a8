"""Requests that are none: each is told as Redis tells it, takes no memory, and others do not notice."""

import socket

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, Error, Redis, port_of

MANY = 100
MORE_BYTES = (64 << 20) * SLOWNESS  # That many connections may take; a sanitizer notes what it has of each byte.

# Each is followed by ECHO and QUIT, so that both servers close the connection after it or because of it.
SAME_AS_REDIS = [
    # Numbers of arguments.
    b"*-1\r\n", b"*0\r\n", b"*\r\n", b"*abc\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n", b"*1 \r\n", b"*-0\r\n", b"*1.5\r\n",
    b"*2147483648\r\n", b"*4294967297\r\n", b"*99999999999\r\n", b"*9223372036854775808\r\n", b"*-5000000000\r\n",
    b"*-9223372036854775809\r\n",
    # Sizes.
    b"*1\r\n$-1\r\n", b"*1\r\n$-5000000000\r\n", b"*1\r\n$\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$ 4\r\nPING\r\n",
    b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$4294967300\r\nPING\r\n",
    b"*1\r\n$99999999999\r\n", b"*1\r\n$9223372036854775808\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-1\r\n",
    # Types.
    b"*1\r\n:1\r\n", b"*1\r\n\r\n", b"*1\r\n\xff\r\n", b"*1\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n*1\r\n", b"$3\r\nfoo\r\n",
    b"+OK\r\n", b"-ERR\r\n", b":1\r\n", b"%1\r\n", b"~1\r\n", b">1\r\n", b"_\r\n",
    # Contents.
    b"*1\r\n$4\r\nPINGxx", b"*1\r\n$0\r\n\r\n", b"*2\r\n$0\r\n\r\n$0\r\n\r\n", b"*1\r\n$4\r\nPI\r\n\r\n",
    b"*1\r\n$4\r\nPI\x00G\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\n\r\r\n",
    # Lines.
    b"SET \"a\r\n", b"SET 'a\r\n", b"SET \"a\"b\r\n", b"\r\n\r\n", b"\n\n", b"PING\n", b"  PING  \r\n", b"ECHO ''\r\n",
    b"ECHO 'it\\'s'\r\n", b'ECHO "\\x41\\x4\\n"\r\n', b"x" * 10_000_000,
    # Numbers that do not end.
    b"*" + b"1" * 1_000_000, b"*1\r\n$" + b"1" * 1_000_000,
    # What a browser sends on behalf of a page.
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a b\r\n",
]


def talk(port, request):
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as connection:
        came = b""
        try:
            connection.sendall(request + b"ECHO end\r\nQUIT\r\n")
        except OSError:
            pass  # It was told, and the connection ended.
        try:
            while more := connection.recv(65536):
                came += more
        except ConnectionResetError:
            pass
        return came


def test_same_errors_as_redis():
    with Redis() as redis, Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as other:
            for request in SAME_AS_REDIS:
                theirs, ours = talk(redis.port, request), talk(port_of(daemon), request)
                check(theirs == ours, f"{request[:60]!r}: {theirs!r}, here {ours!r}")
                check(other.ask("PING") == b"PONG", "others go on")


def test_after_good_ones():
    """What came before is answered, then comes the error, then nothing."""
    with Daemon() as daemon:
        daemon.start()
        for request in (b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n", b"SET \"a\r\n", b"*1000000000\r\n", b"x" * 10_000_000):
            with Client(port_of(daemon)) as client:
                client.send("SET", "before", "1")
                client.send("GET", "before")
                try:
                    client.socket.sendall(request + b"SET after 1\r\n")
                except OSError:
                    pass
                check([client.read(), client.read()] == [b"OK", b"1"], "what came before is answered")
                answer = client.read()
                check(isinstance(answer, Error) and answer.startswith(b"ERR Protocol error: "), f"{request[:40]!r}: {answer!r}")
                check(client.raw() == b"", "and nothing follows")
        with Client(port_of(daemon)) as client:
            check(client.ask("EXISTS", "after") == 0, "nor is anything done")


def test_too_many_connections():
    """One more than there may be is told so in its language, as Redis does it."""
    with Daemon(settings=["limits.connections=1"]) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as first:
            check(first.ask("PING") == b"PONG", "PING")
            with Client(daemon.ready["cluster"].rsplit(":", 1)[1]) as refused:
                check(refused.raw() == b"-ERR max number of clients reached\r\n", "refused")
            check(first.ask("PING") == b"PONG", "PING")


def test_too_large():
    """limits.frame is the bound of one argument and of all together; the number of arguments has its own."""
    large = b"*80\r\n$4\r\nMSET\r\n" + b"$1000000\r\n%s\r\n" % (b"v" * 1_000_000) * 18
    with Daemon() as daemon:
        daemon.start()
        for request, text in ((b"*1000000000\r\n", b"Protocol error: invalid multibulk length"),
                              (b"*2\r\n$4\r\nECHO\r\n$16777217\r\n",
                               b"Protocol error: invalid bulk length: larger than limits.frame, or than may come before the login"),
                              (large, b"Protocol error: request larger than limits.frame")):
            came = talk(port_of(daemon), request)
            check(came == b"-ERR " + text + b"\r\n", f"{request[:40]!r}: {came!r}")
        value = b"v" * 16_000_000
        with Client(port_of(daemon)) as client:
            check(client.ask("ECHO", value) == value, "this is not")


def begin_all(daemon, request, clients):
    for _ in range(MANY):
        client = Client(port_of(daemon))
        clients.append(client)
        try:
            client.socket.sendall(request)
        except OSError:
            pass


def test_many_announcements():
    """What is announced and does not come takes no memory, however many announce it; nor do errors."""
    half = {
        "arguments": b"*1048576\r\n",
        "arguments, some of them": b"*1048576\r\n" + b"$1\r\nx\r\n" * 1000,
        "a large argument": b"*2\r\n$4\r\nECHO\r\n$16000000\r\nhalf",
        "many large arguments": b"*1048576\r\n$15000000\r\nhalf",
        "a line": b"SET a " + b"x" * 50_000,
    }
    wrong = {
        "too many arguments": b"*1000000000\r\n",
        "too large an argument": b"*1\r\n$1000000000\r\n",
        "a long line": b"x" * 10_000_000,
    }
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as other:
            check(other.ask("SET", "here", "1") == b"OK", "set")
            for name, request in {**half, **wrong}.items():
                before, clients = daemon.rss_bytes(), []
                begin_all(daemon, request, clients)
                for client in clients if name in wrong else ():
                    check(client.read().startswith(b"ERR Protocol error: "), name)
                answer = other.ask("GET", "here")
                check(answer == b"1", f"{name}: others go on: {answer!r}")
                more = daemon.rss_bytes() - before
                check(more <= MORE_BYTES, f"{name}: {more >> 20} MiB for what was only announced")
                for client in clients:
                    client.__exit__()
                wait_for("they are gone", lambda: b"connected_clients:1\r" in other.ask("INFO", "clients"))


def test_many_halves():
    """What did come of requests that are never whole is bounded as well; who goes beyond is told."""
    bound = int((140 << 20) * SLOWNESS)  # README: 128 MiB of a shard.
    with Daemon(shards=1) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as other:
            check(other.ask("SET", "here", "1") == b"OK", "set")
            before, clients = daemon.rss_bytes(), []
            begin_all(daemon, b"*2\r\n$4\r\nECHO\r\n$15000000\r\n" + b"v" * 3_000_000, clients)
            check(other.ask("GET", "here") == b"1", "others go on")
            more = daemon.rss_bytes() - before
            check(more <= bound, f"{more >> 20} MiB")
            told = []
            for client in clients:
                client.socket.shutdown(socket.SHUT_WR)
                told.append(client.raw())
                client.__exit__()
            check(set(told) == {b"", b"-BUSY overloaded; try again later\r\n"}, set(told))
            wait_for("its memory is free", lambda: daemon.rss_bytes() - before < bound / 2)
            check(other.ask("GET", "here") == b"1", "others go on")


if __name__ == "__main__":
    run_cases(__name__)
