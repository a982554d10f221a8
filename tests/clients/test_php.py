"""Sessions of PHP, kept by phpredis."""

import os
import re
import socket
import subprocess
import tempfile
import threading
import urllib.request

from both import HERE, on_both
from cases import run_cases
from daemon import check, reserve_port, wait_for
from redis_kit import Client


class Page:
    """A page of PHP's own server, whose sessions are kept by phpredis, with locking."""

    def __init__(self, port):
        self.held = reserve_port()
        self.port = self.held.getsockname()[1]
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
        self.held.close()
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
