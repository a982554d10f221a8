"""libbelay against a real server: every operation; and counting through kills and restarts."""

import re
import socket
import subprocess

from cases import run_cases
from daemon import BUILD, SLOWNESS, Daemon, check, reserve_port
from proxy import Cutter

PROGRAMS = BUILD / "tests" / "integration"


def run_operations(name):
    with Daemon() as daemon:
        daemon.start()
        done = subprocess.run([PROGRAMS / name, daemon.native], check=False, timeout=120 * SLOWNESS)
        check(done.returncode == 0, f"{name}: exit {done.returncode}")
        check(daemon.stop() == 0, "stop")


def test_sessions():
    run_operations("client_sessions")


def test_values():
    run_operations("client_values")


def test_calls():
    run_operations("client_calls")


def test_loops():
    run_operations("client_loops")


def test_example():
    with Daemon() as daemon:
        daemon.start()
        done = subprocess.run([BUILD / "client" / "session-example", daemon.native], check=False,
                              capture_output=True, text=True, timeout=60 * SLOWNESS)
        check(done.returncode == 0, done.stdout + done.stderr)
        for line in ["created, safe in: memory", "  user = ada", "visits: 1",
                     "  cart = a rope", "deleted: yes"]:
            check(line in done.stdout.splitlines(), f"{line!r} is not in\n{done.stdout}")


def test_example_without_a_server():
    """A deadline that passed says why there was no connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Nobody listens there.
        port = taken.getsockname()[1]
        done = subprocess.run([BUILD / "client" / "session-example", f"127.0.0.1:{port}"], check=False,
                              capture_output=True, text=True, timeout=60 * SLOWNESS)
    check(done.returncode == 1, done.stdout + done.stderr)
    check("TIMEOUT" in done.stderr and f"127.0.0.1:{port}: connection refused" in done.stderr.lower(), done.stderr)


def test_every_add_counts_once():
    """kill -9 at every tenth of the way, with adds in flight: the library repeats them, the server
    recognises them."""
    with reserve_port() as held, Daemon(settings=[f"listen.port={held.getsockname()[1]}"]) as daemon:
        daemon.start()
        counter = subprocess.Popen([PROGRAMS / "client_count", daemon.native, "30000"],
                                   stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(9):
                check(counter.stdout.readline() == "counting\n", "nothing was counted")
                daemon.kill()
                daemon.start()
            said, _ = counter.communicate(timeout=240 * SLOWNESS)
        finally:
            counter.kill()
            counter.wait()
        print(said)
        check(counter.returncode == 0, said)
        lost = int(re.search(r"disconnects=(\d+)", said)[1])
        check(lost >= 9, f"only {lost} connections were lost")


def test_lost_replies_count_once():
    """Every tenth reply to a write is lost, with its connection: the write was done, and is not done again."""
    with Daemon() as daemon:
        daemon.start()
        with Cutter(daemon.native, every=10) as cutter:
            done = subprocess.run([PROGRAMS / "client_adds", cutter.address, "counter", "1000", "default"], check=False,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240 * SLOWNESS)
        print(done.stdout)
        check(done.returncode == 0, done.stdout + done.stderr)
        check("ok=1000 maybe=0 other=0 value=1000 " in done.stdout, done.stdout)
        check(cutter.cuts >= 100, f"{cutter.cuts} replies were lost")
        check(daemon.stop() == 0, "stop")


if __name__ == "__main__":
    run_cases(__name__)
