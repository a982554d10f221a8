"""Session frameworks and clients as their users run them: a login, concurrent requests, a new id, expiry, logout."""

import subprocess
import tempfile
import threading

from both import HERE, on_both, script
from cases import run_cases
from daemon import check, wait_for

PYTHON = "/usr/bin/python3"  # Debian's modules belong to it.


def cli(port, *words, **more):
    """What redis-cli prints, in the form that it has for programs."""
    done = subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, timeout=60,
                          check=False, **more)
    check(done.returncode == 0 and not done.stderr, (words, done))
    return done.stdout.strip()


def cli_session(port):
    check(cli(port, "set", "session:1", "ada", "EX", 1800) == "OK" and cli(port, "get", "session:1") == "ada", "login")
    check(cli(port, "-3", "hset", "cart:1", "rope", 1, "lamp", 2) == "2", "a hash, in RESP3")
    check(sorted(cli(port, "-3", "hgetall", "cart:1").split()) == ["1", "2", "lamp", "rope"], "the same hash")
    many = "INCR visits\n" * 500
    both = [threading.Thread(target=cli, args=(port,), kwargs={"input": many}) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    check(cli(port, "get", "visits") == "1000", "two at once")
    piped = cli(port, "--pipe", input="SET piped 1\r\nINCR piped\r\n")
    check("errors: 0, replies: 2" in piped and cli(port, "get", "piped") == "2", piped)
    check(cli(port, "rename", "session:1", "session:2") == "OK" and cli(port, "get", "session:1") == "", "another id")
    check(cli(port, "get", "session:2") == "ada" and 0 < int(cli(port, "ttl", "session:2")) <= 1800, "the same user")
    check(sorted(cli(port, "--scan", "--pattern", "*:*").split()) == ["cart:1", "session:2"], "--scan")
    check(cli(port, "pexpire", "cart:1", 50) == "1", "a deadline")
    wait_for("it expires", lambda: cli(port, "exists", "cart:1") == "0")
    check(cli(port, "del", "session:2") == "1" and cli(port, "get", "session:2") == "", "logout")


def test_redis_cli():
    on_both(cli_session)


def benchmark(port):
    """Its own load, on everything of it that is about sessions."""
    tests = "ping,set,get,incr,sadd,hset,spop,zadd,mset"
    for more in ([], ["-P", "16", "-3"]):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
            running = subprocess.Popen(["redis-benchmark", "-p", str(port), "-t", tests, "-n", "2000", "-c", "20", "-q", *more],
                                       stdout=out, stderr=subprocess.PIPE, text=True)
            said = ""
            for line in running.stderr:
                said += line
                if "Could not connect" in line:
                    running.kill()  # It would try for ever.
            code = running.wait()
            running.stderr.close()
            out.seek(0)
            told = [line for line in out.read().replace("\r", "\n").split("\n") if "requests per second" in line]
        check(code == 0 and "rror" not in said, (code, said))
        check(len(told) == 10 and not any(" 0.00 requests" in line for line in told), told)


def test_redis_benchmark():
    on_both(benchmark)


def test_python_redis():
    on_both(lambda port: script(PYTHON, str(HERE / "client_redis.py"), str(port)))


def test_django_sessions():
    on_both(lambda port: script(PYTHON, str(HERE / "django_sessions.py"), str(port)))


def test_ruby_redis():
    on_both(lambda port: script("ruby", str(HERE / "client_redis.rb"), str(port)))


if __name__ == "__main__":
    run_cases(__name__)
