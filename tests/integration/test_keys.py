"""KEYS, DBSIZE, FLUSHDB and FLUSHALL: all keys of all shards, while others go on."""

import threading

from cases import run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, Error, port_of

MANY = int(30_000 / SLOWNESS)
TOO_MANY = 30_000 # Their names take several times the least limits.output_buffer.


def fill(client, count, name="key"):
    check(set(client.ask_all(("SET", f"{name}:{i}", i) for i in range(count))) == {b"OK"}, "written")


def test_counts_and_names():
    with Daemon(shards=3) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("DBSIZE") == 0 and client.ask("KEYS", "*") == [], "nothing")
            fill(client, MANY)
            client.ask("SELECT", 2)
            fill(client, 100, "two")
            check(client.ask("DBSIZE") == 100, "of its database")
            check(sorted(client.ask("KEYS", "two:?")) == [b"two:%d" % i for i in range(10)], "as their client knows them")
            client.ask("SELECT", 0)
            check(client.ask("DBSIZE") == MANY, "exactly")
            found = client.ask("KEYS", "*")
            check(len(found) == MANY and set(found) == {b"key:%d" % i for i in range(MANY)}, "each once")
            check(len(client.ask("KEYS", "key:12*")) == sum(str(i).startswith("12") for i in range(MANY)), "a prefix")
            client.ask("SET", "dies", "soon", "PX", 1)
            wait_for("it is dead", lambda: client.ask("EXISTS", "dies") == 0)
            check(client.ask("DBSIZE") == MANY, "what has expired is not counted")


def test_answers_in_order():
    with Daemon(shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            fill(client, 2000)
            for i in range(20):
                client.send("SET", f"more:{i}", i)
                client.send("DBSIZE")
                client.send("KEYS", f"more:{i}")
                client.send("GET", f"more:{i}")
            for i in range(20):
                answers = [client.read() for _ in range(4)]
                check(answers == [b"OK", 2001 + i, [b"more:%d" % i], b"%d" % i], (i, answers))


def test_too_many_names():
    with Daemon(shards=2, settings=("limits.output_buffer=64KiB",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            fill(client, TOO_MANY)
            check(client.ask("KEYS", "*") == Error(
                b"ERR the keys do not fit into limits.output_buffer; use SCAN instead"), "an error")
            check(client.ask("KEYS", "key:7") == [b"key:7"], "and it goes on")
            check(client.ask("DBSIZE") == TOO_MANY, "counting takes no room")


def test_flush_has_to_be_allowed():
    with Daemon(shards=2) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            client.ask("SET", "a", 1)
            for command in ("FLUSHALL", "FLUSHDB"):
                check(client.ask(command) == Error(b"ERR FLUSHDB and FLUSHALL are not allowed here; resp.allow_flush "
                                                   b"= yes in the configuration allows them"), command)
            check(client.ask("GET", "a") == b"1", "still there")


def test_flush():
    with Daemon(shards=3, settings=("resp.allow_flush=yes",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client, Client(port_of(daemon)) as other:
            fill(client, MANY)
            client.ask("SELECT", 5)
            fill(client, 500, "five")
            check(client.ask("FLUSHDB", "ASYNC") == b"OK" and client.ask("DBSIZE") == 0, "its own")
            check(other.ask("DBSIZE") == MANY, "and no other")
            fill(client, 500, "five")
            ended, slow = threading.Event(), []

            def go_on():
                while not ended.is_set():
                    slow.append(other.ask("INCR", "{other}counter"))

            thread = threading.Thread(target=go_on)
            thread.start()
            wait_for("others are served", lambda: slow)
            check(client.ask("FLUSHALL") == b"OK", "all")
            check(client.ask("DBSIZE") == 0, "also of this one")
            before = len(slow)
            wait_for("others are served", lambda: len(slow) > before)
            ended.set()
            thread.join()
            check(all(isinstance(number, int) for number in slow), "others were served meanwhile")
            check(other.ask("KEYS", "key:*") == [], "gone")
        daemon.kill()
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("KEYS", "key:*") == [], "and it stays so")


def test_clients_that_leave():
    """Whoever leaves in the middle leaves nothing behind."""
    with Daemon(shards=3, settings=("resp.allow_flush=yes",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            fill(client, MANY)
            for i in range(60):
                with Client(port_of(daemon)) as leaver:
                    leaver.send(*(("DBSIZE",), ("KEYS", "*"), ("KEYS", "key:1*"))[i % 3])
            with Client(port_of(daemon)) as leaver:
                leaver.send("FLUSHALL")
            wait_for("it is done all the same", lambda: client.ask("DBSIZE") == 0)
        daemon.stop()


def test_sessions_of_libbelay():
    with Daemon(shards=2) as daemon:
        daemon.start()
        daemon.run("belayctl", "session", "put", "native", "value")
        with Client(port_of(daemon)) as client:
            check(client.ask("KEYS", "*") == [b"native"] and client.ask("DBSIZE") == 1, "the same sessions")


if __name__ == "__main__":
    run_cases(__name__)
