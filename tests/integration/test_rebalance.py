"""Weights follow how loaded the nodes are."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from cases import run_cases
from cluster import Cluster
from daemon import SLOWNESS, check, program, wait_for
from load import Load, audit, written
from test_belayctl import manual_keys

SESSIONS = 16000


def rebalance(node, *words):
    return node.ask("rebalance", "--by", "load", "--measure", "500ms", *words)


def refused(node, *words, expect=1):
    """What is said on stderr."""
    done = subprocess.run([program("belayctl"), "rebalance", *words], env={**os.environ, "BELAY_SERVER": node.native},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == expect, (words, done.returncode, done.stdout, done.stderr))
    return done.stderr


def weights(node):
    return [row["weight"] for row in node.ask("node", "list")["nodes"]]


def test_by_load():
    """Of three of one weight the first has much less memory: it gives of its part while clients write and read, and none of
    them notices."""
    with tempfile.TemporaryDirectory() as directory, \
            Cluster(3, settings=["node.weight=400", "memory.limit=512MiB", "cluster.down_after=60s"]) as cluster:
        first = cluster[0]
        first.set("memory.limit", "32MiB")
        cluster.start()
        said = first.run("belayctl", "rebalance", "--by", "load", "--measure", "100ms").splitlines()[-1]
        check(said in ("left as it is: no node has a tenth of the load that it could bear",
                       "left as it is: no node has a tenth more than it would have in balance"), said)
        check(weights(first) == [400, 400, 400], weights(first))
        first.run("belay-bench", "fill", "--sessions", SESSIONS, "--value-bytes", 1000, "--prefix", "f:")
        record = Path(directory) / "record"
        load = Load(first, record, "--rate", 200, "--reads", 50, "--timeout-ms", int(5000 * SLOWNESS))
        try:
            wait_for("it writes", lambda: written(record))
            found = rebalance(first, "--dry-run")
            check(set(found) | set(found["nodes"][0]) == manual_keys()["rebalance"], found)
            check(found["changes"] and found["dry_run"] and found["nodes"][0]["name"] == "n1", found)
            least, *others = found["nodes"]
            check(least["memory"] > 0.3 and max(row["memory"] for row in others) < 0.1, found)
            check(least["load"] == max(least["memory"], least["cpu"]) and least["weight_to"] == 300, found)
            check(sum(row["weight_to"] for row in found["nodes"]) == 1200, found)
            check(all(400 < row["weight_to"] <= 500 for row in others), found)
            check(weights(first) == [400, 400, 400], weights(first))
            said = first.run("belayctl", "rebalance", "--by", "load", "--measure", "500ms", "--over", "3s")
            check("     400      300  -25.0%\n" in said and said.endswith("the weights go there in 3s\n"), said)
            check("its weight is changing" in refused(first, "--by", "load"), "while it is on its way")
            wait_for("it is there", lambda: weights(first)[0] == 300 and sum(weights(first)) == 1200)
            cluster.await_settled()
            wait_for("it has less", lambda: rebalance(first, "--dry-run")["nodes"][0]["memory"] < 0.9 * least["memory"])
            stats, said = load.end()
        finally:
            load.kill()
        check(not stats["errors"], (stats, said))
        check(audit(first, record) > 100, "what it wrote")
        check(first.run("belay-bench", "check", "--sessions", SESSIONS, "--value-bytes", 1000, "--prefix", "f:") ==
              f"present={SESSIONS} lost=0 wrong=0\n", "sessions")

        rounds = subprocess.Popen([program("belayctl"), "--json", "rebalance", "--by", "load", "--measure", "100ms", "--every", "100ms",
                                   "--dry-run"], env={**os.environ, "BELAY_SERVER": first.native}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(2):
                check(json.loads(rounds.stdout.readline())["nodes"][0]["weight_to"] == 225, "each time from what it is")
        finally:
            rounds.kill()
            rounds.wait()
            rounds.stdout.close()
        refused(first, expect=2)
        refused(first, "--by", "size", expect=2)
        refused(first, "--by", "load", "--measure", "1ms", expect=2)
        first.run("belayctl", "node", "degrade", "n3")
        check("n3: it is degraded" in refused(first, "--by", "load"), "degraded")


if __name__ == "__main__":
    run_cases(__name__)
