"""README's quick start, command by command, in a copy of the tree that was never built."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import tree
from cases import run_cases
from daemon import check


def quick_start():
    """The commands between the heading and the next one."""
    text = (tree.TOP / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Quick start\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def free_ports():
    """The first of four ports in a row, and of those of two nodes more, that nobody has; below those that
    connections of others are given."""
    for number in range(400):
        base = 20000 + (os.getpid() + number) % 400 * 30
        try:
            for port in range(base, base + 24):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


def copy_tree(to):
    for path in tree.files():
        (to / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree.TOP / path, to / path)


def run(command, copy, port, expect=0):
    """What is built here is not optimized, which takes a fraction of the time: it is the commands that are tested."""
    print(f"$ {command}", flush=True)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=copy,
                          env={**os.environ, "BELAY_PORT": str(port),
                               "BELAY_SERVER": f"127.0.0.1:{port}", "CFLAGS": "-O0"},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    print(done.stdout, flush=True)
    check(done.returncode == expect, f"{command}: exit {done.returncode}")
    return done.stdout


def test_quick_start():
    blocks = [[line for line in block.splitlines() if line] for block in quick_start()]
    commands, cluster = blocks[0] + blocks[1], blocks[2]
    check(commands[0] == "tools/run" and commands[-1] == "tools/run --stop", commands)
    check(cluster[0] == "tools/run --nodes 3" and cluster[-1] == "tools/run --stop", cluster)
    port = free_ports()
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        copy = Path(directory) / "belay"
        copy_tree(copy)
        try:
            first = run(commands[0], copy, port)
            check(f"127.0.0.1:{port}" in first and "tools/run --stop" in first, first)
            again = run(commands[0], copy, port + 4)
            check("runs already" in again and f"127.0.0.1:{port}," in again, again)
            shown = "".join(run(command, copy, port) for command in commands[1:-1])
            check("Ada" in shown, shown)
        finally:
            run("tools/run --stop", copy, port)
        check("no node runs" in run("tools/run --stop", copy, port), "still there")
        run("tools/run --nodes 0", copy, port, expect=2)
        try:
            both = run("tools/run & tools/run; wait $!", copy, port)
            check(both.count("runs already") == 1 and both.count("ready ") == 1, both)
        finally:
            run("tools/run --stop", copy, port)
        try: # The first node is the one that was there.
            formed = run(cluster[0], copy, port)
            check(formed.count(" active ") == 3 and formed.count("user is Ada") == 2, formed)
            check("3 nodes run already" in run(cluster[0], copy, port), "again")
            shown = "".join(run(command, copy, port) for command in cluster[1:-1])
            check("Grace" in shown and shown.count(" active ") == 3, shown)
        finally:
            stopped = run(cluster[-1], copy, port)
        check(stopped.strip() == "stopped" and "no node runs" in run("tools/run --stop", copy, port), stopped)


def test_ports_taken():
    """Said before anything is built, with what to do; so is a port that is none."""
    port = free_ports()
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory, socket.socket() as other:
        copy = Path(directory) / "belay"
        (copy / "tools").mkdir(parents=True)
        shutil.copy2(tree.TOP / "tools/run", copy / "tools/run")
        other.bind(("127.0.0.1", port + 12))
        other.listen()
        said = run("tools/run --nodes 2", copy, port, expect=1)
        check(f"port {port + 12} is taken by another program" in said and "node1" in said, said)
        check("export BELAY_PORT=" in said and "building" not in said, said)
        said = run("tools/run --nodes 3", copy, 65530, expect=1)
        check("node1 would have ports 65540 to 65543" in said or "port 6553" in said, said)
        for wrong in ("abc", "0", "65533", "7400 "):
            said = run("tools/run", copy, wrong, expect=2)
            check(f"BELAY_PORT={wrong}: a port from 1 to 65532" in said, said)


if __name__ == "__main__":
    run_cases(__name__)
