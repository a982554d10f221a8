"""Slots move under load while who gives or gets them is killed: nodes drain, come in again and get other weights, kill -9 comes at
a random moment, and what was acknowledged is there afterwards, at every level. Longer: BELAY_HANDOFF_ROUNDS=50. In a build with a
sanitizer it is one round, of a kind by chance."""

import os
import random
import tempfile
import time

from cases import run_cases
from cluster import Cluster
from daemon import SLOWNESS, check, wait_for
from load import Load, audit, written

ROUNDS = int(os.environ.get("BELAY_HANDOFF_ROUNDS", "5" if SLOWNESS == 1 else "1"))
SEED = int(os.environ.get("BELAY_SEED", time.time_ns()))
QUICK = ["cluster.heartbeat=100ms", "cluster.down_after=500ms", "cluster.cooldown=500ms"]
WEIGHT = 100
SLOTS_MOVE_S = 0.4  # About: the kill comes before, during or after.


def row(asked, name):
    return next(row for row in asked.ask("node", "list")["nodes"] if row["name"] == name)


def begin(asked, chance, kind, name):
    """Slots begin to move from or to this node."""
    if kind == "drain":
        asked.run("belayctl", "node", "drain", name)
    elif kind == "weight":
        asked.run("belayctl", "node", "weight", name, chance.choice([0, 10, 400]), *chance.choice([(), ("--over", "1s")]))
    else:
        asked.run("belayctl", "node", "activate", name, "--weight", WEIGHT)


def put_right(asked, name):
    """It serves as the others do, after whatever was asked of it."""
    def serves():
        found = row(asked, name)
        if found["state"] == "draining":  # Else it has left by itself, as it may meanwhile, or is down and comes back.
            asked.run("belayctl", "node", "drain", name, "--cancel", expect=None)
        elif found["state"] == "left" and found["link"] == "up":
            asked.run("belayctl", "node", "activate", name, "--weight", WEIGHT)
        elif found["state"] == "active" and (found["weight"], found["ramp_ms"]) != (WEIGHT, 0):
            asked.run("belayctl", "node", "weight", name, WEIGHT)
        return found["state"] == "active" and (found["weight"], found["ramp_ms"]) == (WEIGHT, 0)

    wait_for(f"{name} serves again", serves, 60)


def play(cluster, chance, kind):
    """One round: what moves, and who is killed."""
    nodes = list(cluster)
    asked = nodes.pop(chance.randrange(len(nodes)))
    changed = chance.choice(nodes)
    if kind == "activate":
        asked.run("belayctl", "node", "drain", changed.name, "--wait")
    victim = chance.choice([changed, chance.choice([node for node in nodes if node is not changed])])
    begin(asked, chance, kind, changed.name)
    time.sleep(chance.uniform(0, SLOTS_MOVE_S) * SLOWNESS)  # When the kill comes is what is random here.
    victim.kill()
    print(f"{kind} {changed.name}, killed {victim.name}, {row(asked, changed.name)['state']}", flush=True)
    time.sleep(chance.choice([0, 1]) * SLOWNESS)  # It may be back before it is down.
    cluster.restart(victim)
    put_right(asked, changed.name)
    cluster.await_settled()


def test_kills():
    print(f"BELAY_SEED={SEED}")
    chance = random.Random(SEED)
    kinds = ["drain", "weight", "activate"]
    first = chance.randrange(len(kinds))
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, \
            Cluster(4, settings=[*QUICK, f"node.weight={WEIGHT}"]) as cluster:
        record = os.path.join(scratch, "record")
        cluster.start()
        load = Load(cluster[0], record, "--prefix", "h:", "--keys", 3000, "--reads", 20, "--deletes", 10, "--connections", 4,
                    "--value-bytes", 500, "--rate", 600)
        try:
            wait_for("load began", lambda: written(record), 20)
            for number in range(ROUNDS):
                play(cluster, chance, kinds[(first + number) % len(kinds)])
        finally:
            said = load.kill()
        check(": found " not in said, f"a read during the run was wrong:\n{said}")
        cluster.await_settled()
        for node in cluster:
            acked = audit(node, record)
        check(acked > 500, f"only {acked} writes were acknowledged")


if __name__ == "__main__":
    run_cases(__name__)
