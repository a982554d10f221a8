"""A real belayd for a test: a fresh data directory, ports that the system picks, and no trace left.

    with Daemon() as daemon:
        daemon.start()
        daemon.http("/readyz")
        assert daemon.stop() == 0

Programs come from the build directory: BELAY_BUILD, set by meson's test environment.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import native

BUILD = Path(os.environ.get("BELAY_BUILD", "build"))
# Where belay-bench comes from: most tests only make load with it, which no sanitizer has to watch.
LOAD_BUILD = Path(os.environ.get("BELAY_LOAD_BUILD") or BUILD)
# Sanitizers make everything slower.
SLOWNESS = float(os.environ.get("BELAY_SLOWNESS", "1"))
START_TIMEOUT_S = 60 * SLOWNESS
STOP_TIMEOUT_S = 60 * SLOWNESS
# Of our programs: where among the arguments it is said how long one waits for an answer, and how.
PATIENCE = {"belayctl": (0, "--timeout", "30s"), "belay-bench": (1, "--timeout-ms", "30000")}
# The same of commands that wait for what takes its time: --timeout is of all of that.
PATIENCE_OF_ALL = (0, "--timeout", "10m")

LOG_ROWS, LOG_COLUMNS = 40, 300  # Of a node's log, where a test failed.
SANITIZER_SAYS = re.compile(r"(ERROR|WARNING): \w+Sanitizer|: runtime error: ")

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def program(name):
    return str((LOAD_BUILD if name == "belay-bench" else BUILD) / name)


class Failed(Exception):
    """What a test expected did not happen."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def wait_for(what, condition, timeout_s=30, pause_s=0.01):
    """Ask `condition` until it holds; returns what it gave. Fails, naming `what`, when time is up. Between two
    questions twice the time of one goes by, and `pause_s` at least: a question is often a program's start, and the cores are
    others' as well."""
    end = time.monotonic() + timeout_s * SLOWNESS
    while True:
        began = time.monotonic()
        result = condition()
        if result:
            return result
        now = time.monotonic()
        check(now < end, f"{what}: not within {timeout_s} s")
        time.sleep(max(pause_s, min(2 * (now - began), 0.5)))


def reserve_port():
    """A socket with a port that nobody else gets until it is closed: it is bound, but does not listen. What binds it with
    SO_REUSEADDR, as belayd and redis-server do, may listen there, and end, and come again."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def rss_bytes_of(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def cpu_seconds_of(pid, children=False):
    """User and system time of a process, and of those children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if children else 13])) / TICKS


class Daemon:
    """One node. `settings` are --set arguments; `wrapper` is a command that belayd is run under, such as
    ["taskset", "-c", "0"]."""

    def __init__(self, settings=(), config=None, directory=None, wrapper=(), shards=2):
        self.own_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="belay-test-"))
        self.data = self.directory / "data"
        self.wrapper = list(wrapper)
        self.config = config
        self.settings = [f"storage.dir={self.data}", f"node.shards={shards}", "node.name=test",
                         "listen.port=0", "listen.http_port=0", "listen.peer_port=0",
                         "listen.cluster_port=0", "memory.limit=1GiB",
                         "limits.queue_delay=60s",  # On a busy machine all else would get BUSY now and then.
                         *settings]
        self.process = None
        self.ready = {}

    def __enter__(self):
        return self

    def __exit__(self, _, failure, *__):
        try:
            if failure is not None:
                failure.add_note(f"--- log of belayd\n{self.log_end()}---")
        finally:
            self.close()

    def command(self):
        command = [*self.wrapper, str(BUILD / "belayd")]
        if self.config is not None:
            command += ["--config", str(self.config)]
        for setting in self.settings:
            command += ["--set", setting]
        return command

    @property
    def log_path(self):
        return self.directory / "log"

    def log(self):
        """All that it has said on stderr, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_end(self):
        """What tells most of a failure: its last rows, or what a sanitizer said."""
        rows = self.log().splitlines()
        found = next((number for number, row in enumerate(rows) if SANITIZER_SAYS.search(row)), len(rows) - LOG_ROWS)
        return "".join(row[:LOG_COLUMNS] + "\n" for row in rows[max(found, 0):][:LOG_ROWS])

    def launch(self):
        """Begin to start; await_ready() or wait() follows."""
        check(self.process is None, "started twice")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log)

    def await_ready(self):
        """Wait for the ready line. Fails with the log where it exits instead."""
        line = b""
        end = time.monotonic() + START_TIMEOUT_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [],
                                           max(0, end - time.monotonic()))
            check(readable, f"belayd was not ready in time\n{self.log_end()}")
            more = os.read(self.process.stdout.fileno(), 4096)
            check(more, f"belayd ended before it was ready\n{self.log_end()}")
            line += more
        words = line.decode().split()
        check(words and words[0] == "ready", f"not a ready line: {line!r}")
        self.ready = dict(word.split("=", 1) for word in words[1:])

    def start(self):
        self.launch()
        self.await_ready()
        return self

    @property
    def native(self):
        return self.ready["native"]

    @property
    def pid(self):
        return self.process.pid

    def http(self, path, method="GET"):
        """Returns (status, text, headers)."""
        request = urllib.request.Request(f"http://{self.ready['http']}{path}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers

    def wait(self):
        """Wait for its end. Returns the exit code, or minus the signal."""
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"belayd did not stop in time\n{self.log_end()}") from None
        self.process.stdout.close()
        self.process = None
        return code

    def send(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM and the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """SIGKILL: what a crash of the process is."""
        self.send(signal.SIGKILL)
        return self.wait()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def rss_bytes(self):
        return rss_bytes_of(self.pid)

    def cpu_seconds(self):
        """User and system time of the process since it began."""
        return cpu_seconds_of(self.pid)

    busy_seconds = cpu_seconds # It has no children.

    def document(self, command):
        """Its answer to a question of administrators ("status"): what belayctl prints as JSON, without starting a program."""
        try:
            with native.Connection(self.native, timeout=30 * SLOWNESS) as connection:
                return json.loads(connection.admin(command))
        except (OSError, RuntimeError) as error:
            raise Failed(f"{command}: {error}") from error

    def run(self, name, *arguments, expect=0, timeout_s=120, wrapper=()):
        """Run one of our programs against this node. Returns what it printed on stdout. Where the arguments do not say how
        long it waits for an answer, it waits longer than it would by itself: the machine may be slow."""
        words = [str(argument) for argument in arguments]
        waits = name == "belayctl" and ("--wait" in words or words[:2] == ["node", "remove"])
        at, *patience = PATIENCE_OF_ALL if waits else PATIENCE[name]
        if patience[0] not in words:
            words[at:at] = patience
        done = subprocess.run([*wrapper, program(name), *words],
                              env={**os.environ, "BELAY_SERVER": self.native},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout_s * SLOWNESS, check=False)
        check(expect is None or done.returncode == expect,
              f"{name} {' '.join(words)}: exit {done.returncode}, not {expect}\n"
              f"{done.stdout}{done.stderr}")
        return done.stdout
