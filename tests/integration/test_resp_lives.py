"""How long the sessions of Redis clients live: deadlines of fields, sliding expiry, a full memory."""

import itertools
import tempfile
from pathlib import Path

from cases import run_cases
from daemon import Daemon, check, wait_for
from redis_kit import Client, Error, port_of


def test_fields_with_deadlines():
    """HSETEX and HGETEX, as Redis 8 has them."""
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("HSETEX", "h", "EX", 100, "FIELDS", 2, "a", 1, "b", 2) == 1, "set")
            check(client.ask("HGETALL", "h") == [b"a", b"1", b"b", b"2"], "there")
            check(client.ask("TTL", "h") == -1, "of the fields alone")
            check(client.ask("HSETEX", "h", "FNX", "FIELDS", 2, "a", 9, "c", 9) == 0, "one is there")
            check(client.ask("HSETEX", "h", "FXX", "FIELDS", 2, "a", 9, "c", 9) == 0, "one is not")
            check(client.ask("HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", 1, "a", 3) == 1, "kept")
            check(client.ask("HGETEX", "h", "PX", 1000, "FIELDS", 3, "a", "b", "none") == [b"3", b"2", None], "given")
            wait_for("they are gone", lambda: client.ask("HLEN", "h") == 0)
            check(client.ask("EXISTS", "h") == 0 and client.ask("TYPE", "h") == b"none" and client.ask("HGETALL", "h") == [], "it ended with them")
            client.ask("HSETEX", "h", "PX", 1000, "FIELDS", 2, "a", 1, "b", 2)
            check(client.ask("HGETEX", "h", "PERSIST", "FIELDS", 1, "b") == [b"2"], "for ever")
            wait_for("one is gone", lambda: client.ask("HGETALL", "h") == [b"b", b"2"])
            once = b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
            arity = b"ERR wrong number of arguments for 'hsetex' command"
            number = b"ERR value is not an integer or out of range"
            negative = b"ERR invalid expire time, must be >= 0"
            for error, words in ((b"ERR Number of fields must be a positive integer", ("FIELDS", 0, "a")),
                                 (b"ERR Number of fields must be a positive integer", ("EX", 1, "FIELDS", "x", "a")),
                                 (b"ERR The `numfields` parameter must match the number of arguments", ("FIELDS", 2, "a")),
                                 (negative, ("EX", -1, "FIELDS", 1, "a")), (number, ("EX", "x", "FIELDS", 1, "a")),
                                 (b"ERR invalid expire time in 'hgetex' command", ("EX", 2**62, "FIELDS", 1, "a")),
                                 (b"ERR Mandatory argument FIELDS is missing or not at the right position",
                                  ("EX", 1, "PERSIST", "FIELDS", 1, "a")),
                                 (b"ERR Mandatory argument FIELDS is missing or not at the right position",
                                  ("FOO", "FIELDS", 1, "a"))):
                answer = client.ask("HGETEX", "h", *words)
                check(answer == error and isinstance(answer, Error), (words, answer))
            for error, words in ((b"ERR invalid number of fields", ("FIELDS", 0, "a", 1)), (arity, ("FIELDS", 2, "a", 1)),
                                 (arity, ("EX", 1, "FIELDS", 1, "a")), (negative, ("PX", -1, "FIELDS", 1, "a", 1)),
                                 (number, ("EXAT", "x", "FIELDS", 1, "a", 1)), (once, ("EX", 1, "PX", 1, "FIELDS", 1, "a", 1)),
                                 (once, ("KEEPTTL", "EX", 1, "FIELDS", 1, "a", 1)),
                                 (b"ERR Only one of FXX or FNX arguments can be specified", ("FNX", "FXX", "FIELDS", 1, "a", 1)),
                                 (b"ERR unknown argument: NX", ("NX", "EX", 1, "FIELDS", 1, "a", 1)),
                                 (b"ERR unknown argument: x", ("FNX", "KEEPTTL", "x", "EX"))):
                answer = client.ask("HSETEX", "h", *words)
                check(answer == error and isinstance(answer, Error), (words, answer))
            check(client.ask("HGETALL", "h") == [b"b", b"2"], "nothing of that was done")
            # A time that is past takes the fields away, and a session without any with them.
            check(client.ask("HSETEX", "h", "EX", 0, "FIELDS", 1, "b", 3) == 1 and client.ask("EXISTS", "h") == 0, "none left")
            check(client.ask("HSETEX", "h", "PXAT", 1, "FIELDS", 1, "b", 3) == 1 and client.ask("EXISTS", "h") == 0, "nor begun")
            client.ask("HSET", "h", "a", 1, "b", 2)
            check(client.ask("HGETEX", "h", "EXAT", 0, "FIELDS", 1, "b") == [b"2"], "the last time")
            check(client.ask("HGETALL", "h") == [b"a", b"1"], "the other stays")
            # Counting keeps a field's time, setting it does not.
            client.ask("HSETEX", "h", "PX", 1000, "FIELDS", 3, "n", 1, "x", 1, "f", "1.5")
            client.ask("HINCRBY", "h", "n", 1)
            client.ask("HINCRBYFLOAT", "h", "f", 1)
            client.ask("HSET", "h", "x", 2)
            wait_for("two are gone", lambda: client.ask("HGETALL", "h") == [b"a", b"1", b"x", b"2"])
            check(client.ask("HGETEX", "none", "EX", 1, "FIELDS", 2, "a", "b") == [None, None], "no session")
            client.ask("SET", "text", "x")
            check(client.ask("HGETEX", "text", "FOO", 1, "a").startswith(b"WRONGTYPE"), "that comes first")
            check(client.ask("HSETEX", "text", "FIELDS", 1, "a", 1).startswith(b"WRONGTYPE"), "no hash")


def test_sliding_expiry():
    """A policy gives sessions an idle time, and reads slide it, without a word from the client."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "belayd.conf"
        config.write_text('[policy "s:"]\nidle_ttl = 1h\ntouch_on_read = yes\n[policy "s:not:"]\ntouch_on_read = no\n')
        with Daemon(config=config) as daemon:
            daemon.start()
            with Client(port_of(daemon)) as client:
                client.ask("HSET", "s:h", "f", "v")
                for name in ("s:1", "s:not:1"):
                    check(client.ask("SET", name, "ada") == b"OK", name)
                for name, read, slides in (("s:1", ("GET", "s:1"), True), ("s:h", ("HGETALL", "s:h"), True),
                                           ("s:1", ("GETEX", "s:1"), True), ("s:1", ("EXISTS", "s:1"), False),
                                           ("s:not:1", ("GET", "s:not:1"), False)):
                    wait_for("time passes", lambda name=name: client.ask("PTTL", name) < 3_600_000 - 50)
                    before = client.ask("PTTL", name)
                    client.ask(*read)
                    after = client.ask("PTTL", name)
                    check((after > before) == slides, (read, before, after))
                check(client.ask("SET", "other", "x") == b"OK" and client.ask("TTL", "other") == -1, "no policy")


def patiently(client, *words):
    """The answer, once the disk is no longer too slow for it."""
    answers = []

    def answered():
        answers.append(client.ask(*words))
        return not (isinstance(answers[-1], Error) and answers[-1].startswith(b"BUSY"))
    wait_for(words[0], answered)
    return answers[-1]


FULL = b"OOM command not allowed when used memory > 'maxmemory'."


def test_full_memory():
    """What begins a session is refused with Redis's words; all else goes on."""
    with Daemon(shards=1, settings=("memory.limit=8MiB",)) as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            check(client.ask("SET", "here", "1") == b"OK", "the first one")
            names = (f"{number:0500}" for number in itertools.count())  # So long that leaving only them would win nothing.
            taken = 0

            def is_full():
                nonlocal taken
                answers = client.ask_all([("SET", next(names), "x") for _ in range(100)])
                odd = [answer for answer in answers if answer not in (b"OK", FULL) and not answer.startswith(b"BUSY")]
                check(not odd, odd[:1])
                taken += answers.count(b"OK")
                return FULL in answers
            wait_for("memory is full", is_full, 60)
            check(5000 < taken < 20000, taken)
            for words, wanted in ((("GET", "here"), b"1"), (("INCR", "here"), 2), (("EXPIRE", "here", 100), 1),
                                  (("DEL", "here"), 1), (("GET", f"{0:0500}"), b"x")):
                check(patiently(client, *words) == wanted, words)


if __name__ == "__main__":
    run_cases(__name__)
