"""connect-redis on both of its clients, as a site uses it."""

import os
import subprocess
from pathlib import Path

from both import HERE, on_both, script
from cases import run_cases
from daemon import check


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


if __name__ == "__main__":
    run_cases(__name__)
