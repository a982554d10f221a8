"""The servers that a client's test runs against: a redis-server first, which shows that the test itself is right, then
Belay; and it fails where no server is."""

import subprocess
from pathlib import Path

from daemon import Daemon, check, reserve_port
from redis_kit import Redis, port_of

HERE = Path(__file__).parent


def on_both(run):
    """`run(port)` raises where something is wrong."""
    with Redis() as redis:
        run(redis.port)
    with Daemon(shards=2) as daemon:
        daemon.start()
        run(int(port_of(daemon)))
    with reserve_port() as nobody:
        try:
            run(nobody.getsockname()[1])
        except Exception:  # pylint: disable=broad-except
            return
    check(False, "it does not fail without a server")


def script(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                          check=False)
    check(done.returncode == 0 and done.stdout.endswith("all is well\n"), done.stdout)
