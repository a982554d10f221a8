"""Session frameworks and clients as their users run them: a login, concurrent requests, a new id, expiry, logout.

Each runs against redis-server first, which shows that the test itself is right, then against Belay; and it fails where
no server is."""

import os
import re
import socket
import subprocess
import tempfile
import threading
import urllib.request
from pathlib import Path

from cases import run_cases
from daemon import Daemon, check, wait_for
from redis_kit import Client, Redis, free_port, port_of

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"  # Debian's modules belong to it.


def on_both(run):
    """`run(port)` raises where something is wrong."""
    with Redis() as redis:
        run(redis.port)
    with Daemon(shards=2) as daemon:
        daemon.start()
        run(int(port_of(daemon)))
    try:
        run(free_port())
    except Exception:  # pylint: disable=broad-except
        return
    check(False, "it does not fail without a server")


def script(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                          check=False)
    check(done.returncode == 0 and done.stdout.endswith("all is well\n"), done.stdout)


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
        done = subprocess.run(["redis-benchmark", "-p", str(port), "-t", tests, "-n", "2000", "-c", "20", "-q", *more],
                              capture_output=True, text=True, timeout=30, check=False) # It tries for ever.
        told = [line for line in done.stdout.replace("\r", "\n").split("\n") if "requests per second" in line]
        check(done.returncode == 0 and "rror" not in done.stderr, done)
        check(len(told) == 10 and not any(" 0.00 requests" in line for line in told), told)


def test_redis_benchmark():
    on_both(benchmark)


def test_python_redis():
    on_both(lambda port: script(PYTHON, str(HERE / "client_redis.py"), str(port)))


def test_django_sessions():
    on_both(lambda port: script(PYTHON, str(HERE / "django_sessions.py"), str(port)))


def test_ruby_redis():
    on_both(lambda port: script("ruby", str(HERE / "client_redis.rb"), str(port)))


def node_site(client):
    """npm's packages lie beside what was built, and stay there for the next time."""
    home = Path(os.environ["BELAY_BUILD"]) / "clients-node"
    home.mkdir(exist_ok=True)
    for name in ("package.json", "site.mjs"):
        (home / name).write_bytes((HERE / "node" / name).read_bytes())
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], cwd=home,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    check(done.returncode == 0, done.stdout)
    on_both(lambda port: script("node", str(home / "site.mjs"), str(port), client))


def test_connect_redis_on_node_redis():
    node_site("node-redis")


def test_connect_redis_on_ioredis():
    node_site("ioredis")


class Page:
    """A page of PHP's own server, whose sessions are kept by phpredis, with locking."""

    def __init__(self, port):
        self.port = free_port()
        settings = {"session.save_handler": "redis", "session.save_path": f"tcp://127.0.0.1:{port}",
                    "redis.session.locking_enabled": "1", "redis.session.lock_wait_time": "2000",
                    "redis.session.lock_retries": "2000", "session.gc_maxlifetime": "3"}
        options = [word for name, value in settings.items() for word in ("-d", f"{name}={value}")]
        self.directory = tempfile.TemporaryDirectory(prefix="belay-php-")
        self.log = open(f"{self.directory.name}/log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["php", *options, "-S", f"127.0.0.1:{self.port}", "-t", str(HERE / "php")],
            stdout=self.log, stderr=self.log, env={**os.environ, "PHP_CLI_SERVER_WORKERS": "4"}, start_new_session=True)

    def __enter__(self):
        def answers():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return True
            except OSError:
                return False
        wait_for("php answers", answers)
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self.log.close()
        self.directory.cleanup()

    def get(self, what, cookie=None):
        """Returns what the page says, and the id of the session."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/session.php?do={what}")
        if cookie:
            request.add_header("Cookie", f"PHPSESSID={cookie}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            found = re.search(r"PHPSESSID=(\w+)", answer.headers.get("Set-Cookie") or "")
            return answer.read().decode().strip(), found.group(1) if found else cookie


def keys_of(port):
    with Client(port) as client:
        return client.ask("SCAN", 0, "COUNT", 1000)[1]


def php_page(port):
    with Page(port) as page:
        said, cookie = page.get("login")
        check(said == "hello ada" and cookie, said)
        check(page.get("who", cookie)[0] == "ada", "known")

        def count():
            for _ in range(10):
                page.get("count", cookie)
        both = [threading.Thread(target=count) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        said = page.get("count", cookie)[0]
        check(said == "21", f"{said} counted: a request was lost")
        check(not [key for key in keys_of(port) if key.endswith(b"_LOCK")], "a lock is left")
        said, fresh = page.get("rotate", cookie)
        check(fresh != cookie and page.get("who", fresh)[0] == "ada", "the same user, another id")
        check(page.get("who", cookie)[0] == "nobody", "the old id is of no use")
        check(page.get("logout", fresh)[0] == "bye", "gone")
        check(page.get("who", fresh)[0] == "nobody", "it stays so")
        cookie = page.get("login")[1]
        wait_for("it expires", lambda: not any(cookie.encode() in key for key in keys_of(port)))
        check(page.get("who", cookie)[0] == "nobody", "too late")


def test_php_sessions():
    on_both(php_page)


if __name__ == "__main__":
    run_cases(__name__)
