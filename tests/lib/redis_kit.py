"""A redis-server beside the daemon, and a client that says exactly what it is told."""

import socket
import subprocess
import tempfile
from pathlib import Path

from daemon import check, cpu_seconds_of, reserve_port, rss_bytes_of, wait_for


class Redis:
    """A redis-server, which keeps nothing unless told so. `settings` are words of its configuration, such as
    ("appendonly", "yes"); `wrapper` is a command that it is run under."""

    def __init__(self, settings=(), wrapper=(), address="127.0.0.1"):
        self.settings = settings
        self.wrapper = wrapper
        self.address = address

    def __enter__(self):
        self.held = reserve_port()
        self.port = self.held.getsockname()[1]
        self.directory = tempfile.TemporaryDirectory(prefix="belay-redis-")
        self.launch()
        self.await_ready()
        return self

    def __exit__(self, *_):
        self.kill()
        self.held.close()
        self.directory.cleanup()

    def launch(self):
        """Begin to start; await_ready() follows."""
        own = [("port", self.port), ("bind", self.address), ("save", ""), ("appendonly", "no"),
               ("loglevel", "warning"), ("dir", self.directory.name), *self.settings]
        self.process = subprocess.Popen(
            [*self.wrapper, "redis-server", *(str(word) for name, value in own for word in (f"--{name}", value))],
            stdout=subprocess.DEVNULL)

    def await_ready(self):
        """Wait until it answers, and has loaded what it kept."""
        def answers():
            check(self.process.poll() is None, "redis-server ended")
            try:
                with Client(self.port, host=self.address) as client:
                    answer = client.ask("PING")
                    return answer == b"PONG" or answer.startswith(b"NOAUTH")
            except OSError:
                return False
        wait_for("redis-server answers", answers)

    @property
    def native(self):
        """Where it listens, under the name that a Daemon has for that."""
        return f"{self.address}:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def rss_bytes(self):
        return rss_bytes_of(self.process.pid)

    def cpu_seconds(self):
        """User and system time of the process since it began."""
        return cpu_seconds_of(self.process.pid)

    def busy_seconds(self):
        """The same with its children, which write its files anew."""
        seconds = cpu_seconds_of(self.process.pid, children=True)
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            try:
                seconds += cpu_seconds_of(child, children=True)
            except OSError:
                pass # It ended just now.
        return seconds


class Error(bytes):
    """An error reply."""


def command(words):
    """Its bytes."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Client:
    """RESP without any cleverness: what was asked, what was answered."""

    def __init__(self, port, timeout_s=60, host="127.0.0.1"):
        self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        self.socket.sendall(command(words))

    def read(self):
        line = self.file.readline()
        check(line.endswith(b"\r\n"), f"the connection ended: {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+,":
            return rest
        if kind == b"-":
            return Error(rest)
        if kind == b":":
            return int(rest)
        if kind == b"_" or rest == b"-1":
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        if kind == b"=":
            return self.file.read(int(rest) + 2)[len("txt:"):-2]
        if kind == b"%":
            return {self.read(): self.read() for _ in range(int(rest))}
        check(kind in b"*~>", f"no reply begins so: {line!r}")
        return [self.read() for _ in range(int(rest))]

    def ask(self, *words):
        self.send(*words)
        return self.read()

    def ask_all(self, commands):
        """All of them, a thousand at a time. Returns the answers."""
        answers, commands = [], list(commands)
        for begin in range(0, len(commands), 1000):
            part = commands[begin:begin + 1000]
            self.socket.sendall(b"".join(map(command, part)))
            answers += [self.read() for _ in part]
        return answers

    def raw(self):
        """What follows up to the end of the stream."""
        return self.file.read()


def port_of(daemon):
    return daemon.native.rsplit(":", 1)[1]
