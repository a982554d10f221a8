"""Three nodes under load, of which some die, stand still, lose their disk or start anew: what was acknowledged is there
afterwards, at every level, and what was deleted stays deleted. The load goes on meanwhile, by clients that know the
cluster; what they read may be old while a node is away, as what was told to be on its disk alone is away with it.
Longer: BELAY_FAILOVER_ROUNDS."""

import json
import os
import random
import tempfile
import time
from contextlib import contextmanager

from cases import run_cases
from cluster import Cluster
from daemon import SLOWNESS, check, wait_for
from load import Load, audit, written

ROUNDS = int(os.environ.get("BELAY_FAILOVER_ROUNDS", "2"))
SEED = int(os.environ.get("BELAY_SEED", time.time_ns()))
WRITES_MIN = 100


@contextmanager
def cluster_under_load(*words, settings=()):
    """(cluster, more, finish): `more()` waits until the load has got on; `finish()` ends it and audits."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Cluster(3, settings=settings) as cluster:
        record = os.path.join(scratch, "record")
        cluster.start()
        load = Load(cluster[0], record, "--prefix", "f:", "--keys", 5000, "--reads", 20, "--deletes", 10,
                    "--connections", 8, "--value-bytes", 100, "--rate", 1500, *words)

        def more():
            before = entries(record)
            wait_for("the load gets on", lambda: entries(record) > before + WRITES_MIN)

        def finish():
            more()
            load.kill()
            cluster.await_settled()
            for node in cluster:
                acked = audit(node, record)
                check(acked > WRITES_MIN, f"only {acked} writes were acknowledged")
            print(f"{acked} acknowledged writes", flush=True)
        try:
            wait_for("load began", lambda: written(record), 20)
            yield cluster, more, finish
        finally:
            load.kill()


def entries(record):
    """How many the record has: what is written is followed by zeros."""
    with open(record, "rb") as file:
        file.seek(256)
        return len(file.read().rstrip(b"\0")) // 32


def test_kill():
    chance = random.Random(SEED)
    print(f"BELAY_SEED={SEED}")
    with cluster_under_load() as (cluster, more, finish):
        for _ in range(ROUNDS):
            victim = chance.choice(cluster.nodes)
            victim.kill()
            more()
            cluster.restart(victim)
            cluster.await_settled()
        finish()


def test_pause():
    chance = random.Random(SEED)
    with cluster_under_load() as (cluster, more, finish):
        for _ in range(ROUNDS):
            victim = chance.choice(cluster.nodes)
            victim.pause()
            more()
            victim.resume()
            cluster.await_settled()
        finish()


def test_wiped_disk():
    with cluster_under_load("--ack", "replica") as (cluster, more, finish):
        victim = cluster[1]
        victim.kill()
        victim.wipe()
        more()
        cluster.remove(victim.name)
        cluster.restart(victim)
        finish()


def test_restart_of_all_at_once():
    with cluster_under_load() as (cluster, _, finish):
        for node in cluster:
            node.kill()
        cluster.start()
        finish()


def test_rolling_restart():
    with cluster_under_load() as (cluster, more, finish):
        for node in cluster:
            code = node.stop()
            check(code == 0, f"{node.name}: exit {code}")
            more()
            cluster.restart(node)
            cluster.await_settled()
        finish()


def test_rolling_restart_with_drains():
    """Each gives what it has to the others before it stops, and gets its part again: there is no moment with fewer copies."""
    with cluster_under_load(settings=["node.drain_on_stop=60s"]) as (cluster, more, finish):
        for node in cluster:
            asked = next(other for other in cluster if other is not node)
            asked.run("belayctl", "cluster", "restart-check", node.name, "--wait")
            code = node.stop()
            check(code == 0 and "drain-ended cause=drained" in node.log(), f"{node.name}: exit {code}")
            more()
            cluster.restart(node)
            cluster.await_settled()
        finish()


def test_the_audit_sees_a_lost_cluster():
    """Without this, the audits above would say nothing: two disks of three are more than `replica` covers."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Cluster(3) as cluster:
        record = os.path.join(scratch, "record")
        cluster.start()
        cluster[0].run("belay-bench", "run", "--record", record, "--prefix", "f:", "--keys", 300, "--count", 1000,
                       "--reads", 0, "--value-bytes", 100)
        check(audit(cluster[0], record) == 1000, "all are there")
        for node in cluster.nodes[1:]:
            node.kill()
            node.wipe()
        printed = cluster[0].run("belay-bench", "audit", record, "--timeout-ms", int(500 * SLOWNESS), "--json", expect=1)
        audited = json.loads(printed)
        missing = audited["all"]["lost"] + sum(audited["errors"].values())
        check(50 < missing < 150, f"both copies of a third of 300 sessions were on those disks: {printed}")


if __name__ == "__main__":
    run_cases(__name__)
