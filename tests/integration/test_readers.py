"""Clients, and a log, that nobody reads: none of them stops what is done for others."""

import multiprocessing
import os
import selectors
import signal
import socket
import subprocess
import time

from cases import long, run_cases
from daemon import SLOWNESS, Daemon, check, wait_for
from redis_kit import Client, command, port_of

MIB = 1 << 20


def peak_bytes(daemon):
    """The most memory that it ever had."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


class UnreadLog(Daemon):
    """Its log goes to `writer`, which is full from the start, and is read at `reader` by the test alone."""

    def __init__(self, reader, writer):
        super().__init__(shards=1)
        self.reader, self.writer = reader, writer
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        for piece in (b"x" * 4096, b"x"):
            try:
                while True:
                    os.write(writer, piece)
            except BlockingIOError:
                pass
        os.set_blocking(writer, True)  # As those are that a shell or a service manager makes.

    def launch(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=self.writer)

    def said(self):
        """What came since the last time."""
        text = b""
        try:
            while piece := os.read(self.reader, 65536):
                text += piece
        except BlockingIOError:
            pass
        return text.decode().lstrip("x")

    def close(self):
        super().close()
        os.close(self.reader)
        os.close(self.writer)


def test_log_that_nobody_reads():
    """It starts, serves, and answers over HTTP, though its standard error takes nothing more. Once somebody reads it the log says how
    many lines are missing. The pipe's flags, which its parent and others share, are as they were."""
    for ends in (os.pipe(), tuple(end.detach() for end in socket.socketpair())):
        with UnreadLog(*ends) as daemon:
            daemon.start()
            check(daemon.http("/healthz")[0] == 200 and os.get_blocking(daemon.writer), "serves")
            text = daemon.said()
            check(text == "", text)
            daemon.send(signal.SIGHUP)
            text = wait_for("the log goes on", daemon.said)
            lines = text.splitlines()
            check(" warn lines-dropped lines=" in lines[0] and " users-" in lines[1] and text.endswith("\n"), text)
            check(daemon.stop() == 0 and " stopped" in daemon.said(), "the end is told")


class Flood:
    """Clients that ask for `keys` in one command each, and read the answers as they come: in a process of their own, as those of
    a thread would keep this one from reading what is measured. It ends when `size` bytes have come to each."""

    def __init__(self, daemon, keys, count, size):
        self.clients = [Client(port_of(daemon)) for _ in range(count)]
        self.ask = command(["MGET", *keys])
        self.left = dict.fromkeys((client.socket for client in self.clients), size)

    def __enter__(self):
        self.end, end = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("fork").Process(target=self.read, args=[end])
        for client in self.clients:
            client.socket.sendall(self.ask)
        self.process.start()
        end.close()
        return self

    def __exit__(self, *_):
        self.process.join()
        for client in self.clients:
            client.__exit__()

    def read(self, end):
        with selectors.DefaultSelector() as ready:
            for each in self.left:
                ready.register(each, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select():
                    piece = key.fileobj.recv(MIB // 4)
                    self.left[key.fileobj] -= len(piece)
                    if not piece or self.left[key.fileobj] == 0:
                        ready.unregister(key.fileobj)
        check(not any(self.left.values()), self.left)
        end.send(time.monotonic())

    def ended(self):
        return self.end.recv()


@long
def test_new_connection_beside_large_answers():
    """Who connects is answered soon, though the shard that gets the connection has a queue of large answers to make. On one
    processor the shards run as much as each other, and the share of the time is the same on any machine."""
    with Daemon(shards=2, wrapper=["taskset", "-c", str(min(os.sched_getaffinity(0)))]) as daemon:
        daemon.start()
        value = b"v" * (MIB - 1000)
        answer_bytes = len(command([value] * 3))
        with Client(port_of(daemon)) as client:
            for tag in "ab":  # One of each shard.
                for number in range(3):
                    check(client.ask("SET", f"{{{tag}}}{number}", value) == b"OK", "SET")
        for tag in "ab":
            shares = []
            for _ in range(4):  # What others do on this machine makes some of them larger, and none smaller.
                with Flood(daemon, [f"{{{tag}}}{number}" for number in range(3)], 40, answer_bytes) as flood:
                    began = time.monotonic()
                    with Client(port_of(daemon)) as client:
                        check(client.ask("PING") == b"PONG", "PING")
                    answered = time.monotonic()
                    shares.append((answered - began) / (flood.ended() - began))
            check(min(shares) < 0.25, shares)


def test_large_replies_in_one_go():
    """Requests for many large sessions that are sent together are answered one after the other, and none is refused, whatever the
    shards are that have the sessions, and whatever was asked before."""
    with Daemon(shards=2, settings=["limits.output_buffer=1MiB"]) as daemon:
        daemon.start()
        keys = {tag: [f"{{{tag}}}{number}" for number in range(3)] for tag in "ab"}
        values = [b"%02d" % number * (MIB // 4) for number in range(3)]
        with Client(port_of(daemon)) as client:
            for each in keys.values():
                for key, value in zip(each, values):
                    check(client.ask("SET", key, value) == b"OK", "SET")
        large, others = command(["MGET", *keys["a"]]), command(["MGET", *keys["b"]])
        small = command(["MGET", "none", "{a}none", "{b}none"])
        for first in (b"", small):  # Before those that are large all were small, or there was none.
            clients = [Client(port_of(daemon)) for _ in range(2)]  # One at either shard.
            for client in clients:
                for _ in range(8 if first else 0):
                    client.socket.sendall(first)
                    check(client.read() == [None] * 3, "small")
                client.socket.sendall((large + large + others + others) * 2 + small + large + others)
            for client in clients:
                with client:
                    for expected in (*[values] * 8, [None] * 3, values, values):
                        answer = client.read()
                        check(answer == expected, repr(answer[:2])[:100])


@long
def test_all_slow_readers_together():
    """What many clients ask for and do not read takes a bounded part of memory: those that read nothing are closed in the end, and
    others are served all the time."""
    with Daemon(shards=1, settings=['policy "".session_max_bytes=32MiB', "limits.frame=40MiB"]) as daemon:
        daemon.start()
        value = b"v" * (31 * MIB)
        with Client(port_of(daemon)) as client:
            check(client.ask("SET", "large", value) == b"OK", "SET")
            before = peak_bytes(daemon)
            slow = [Client(port_of(daemon)) for _ in range(16)]
            for one in slow:
                one.send("GET", "large")
            for _ in range(3):
                check(client.ask("GET", "large") == value, "who reads gets all of it")
                check(client.ask("PING") == b"PONG", "PING")
            more = peak_bytes(daemon) - before
            check(more < 400 * MIB * SLOWNESS, f"{more >> 20} MiB")

            def closed():
                return next(float(line.split()[-1]) for line in daemon.http("/metrics")[1].splitlines()
                            if line.startswith("belay_connections_output_limited_total{"))
            wait_for("some are closed", lambda: closed() >= 4)
        for one in slow:
            one.__exit__()


if __name__ == "__main__":
    run_cases(__name__)
