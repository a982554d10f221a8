"""What breaks things. A nemesis has `begin()`, which breaks something and says what, and `end()`, which makes it good.

At most one thing of each kind is broken at a time; several kinds may be broken together. A wipe is different: a second
loss before the first is made good is more than any level promises to survive, so it first has all else made good, and
ends only when the cluster has settled.
"""

import shutil
import subprocess

from daemon import Failed, wait_for

from .net import both_ways

PARTITIONS = ("one", "halves", "ring", "one-way")
RING_NODES_MIN = 4  # Of fewer each one hears all others.
WEIGHT = 100  # Of every node: what node.weight is by the memory limit of tests/lib/daemon.py.
PATIENCE = "5s"  # For one thing that is asked of the cluster, which may be unable to decide.
PATIENCE_S_MAX = 30
REPAIR_PATIENCE_S = 60


class Kill:
    """kill -9 of one node, some, or all of them; then they start again with what their disks have."""

    name = "kill"

    def __init__(self, cluster, network, chance):
        del network
        self.cluster, self.chance = cluster, chance
        self.victims = []

    def begin(self):
        count = self.chance.choice([1, 1, 1, self.chance.randint(1, len(self.cluster))])
        self.victims = self.chance.sample(list(self.cluster), count)
        for node in self.victims:
            node.kill()
        return [node.name for node in self.victims]

    def end(self):
        victims, self.victims = self.victims, []
        for node in victims:
            node.launch()
        for node in victims:
            node.await_ready()
        return [node.name for node in victims]


class Pause:
    """SIGSTOP: a node that is silent, and later goes on as if nothing had been."""

    name = "pause"

    def __init__(self, cluster, network, chance):
        del network
        self.cluster, self.chance = cluster, chance
        self.victims = []

    def begin(self):
        running = self.cluster.running()
        self.victims = self.chance.sample(running, min(len(running), self.chance.choice([1, 1, 2])))
        for node in self.victims:
            node.pause()
        return [node.name for node in self.victims]

    def end(self):
        victims, self.victims = self.victims, []
        for node in victims:
            if node.is_running:
                node.resume()
        return [node.name for node in victims]


class Partition:
    """Cuts between nodes: one alone, two halves, a ring in which each hears a majority and no two the same one, or one
    node that is not heard, or does not hear."""

    name = "partition"

    def __init__(self, cluster, network, chance):
        self.names = [node.name for node in cluster]
        self.network, self.chance = network, chance

    def pairs(self, kind):
        names = self.chance.sample(self.names, len(self.names))
        if kind == "one":
            return both_ways(names[:1], names[1:])
        if kind == "halves":
            half = len(names) // 2
            return both_ways(names[:half], names[half:])
        if kind == "ring":
            return self.ring(names)
        others = {(names[0], other) for other in names[1:]}
        return others if self.chance.random() < 0.5 else {(other, one) for one, other in others}

    @staticmethod
    def ring(names):
        """Each node hears the nearest ones, so many that they are a majority with itself."""
        count = len(names)
        reach = max(1, (count // 2 + 1) // 2)
        return {(one, other) for i, one in enumerate(names) for j, other in enumerate(names)
                if i != j and min((i - j) % count, (j - i) % count) > reach}

    def begin(self):
        kind = self.chance.choice([each for each in PARTITIONS if each != "ring" or len(self.names) >= RING_NODES_MIN])
        pairs = self.pairs(kind)
        if not pairs: # Of three nodes each hears the two others: no ring.
            kind = "one"
            pairs = self.pairs(kind)
        self.network.cut(pairs)
        return [kind, sorted(f"{one}>{other}" for one, other in pairs)]

    def end(self):
        self.network.heal()
        return None


class Wipe:
    """A node is killed and its disk is gone. Its name comes back as a new, empty member."""

    name = "wipe"

    def __init__(self, cluster, network, chance):
        del network
        self.cluster, self.chance = cluster, chance
        self.victim = None

    def begin(self):
        self.victim = self.chance.choice(list(self.cluster))
        self.victim.kill()
        self.victim.wipe()
        return [self.victim.name]

    def end(self):
        victim, self.victim = self.victim, None
        self.cluster.remove(victim.name)
        self.cluster.restart(victim)
        self.cluster.await_settled()
        return [victim.name]


class Rollback:
    """A disk that is put back to what it was some seconds before, as from an old image: what no store can survive, and
    no checker may let pass. It is there to show that they do not."""

    name = "rollback"

    def __init__(self, cluster, network, chance):
        del network, chance
        self.node = cluster[0]
        self.image = self.node.directory / "image"

    def begin(self):
        self.node.kill()
        shutil.copytree(self.node.data, self.image)
        self.node.start()
        return [self.node.name]

    def end(self):
        self.node.kill()
        self.node.wipe()
        self.image.rename(self.node.data)
        self.node.start()
        return [self.node.name]


class Handoff:
    """Slots move while all is in use: a node drains, which is taken back, or it comes in again; one drains, is taken out and
    enters anew with an empty disk; one gets another weight, at once or by and by. Other nemeses may keep any of that from
    being decided: it is asked for once, and make_good() has all nodes as they were."""

    name = "handoff"

    def __init__(self, cluster, network, chance):
        del network
        self.cluster, self.chance = cluster, chance
        self.kind, self.victim = None, None

    def others(self, node):
        return [other for other in self.cluster.running() if other is not node]

    def ask(self, node, *words):
        """Returns what another node says about a change of this one, or what stood against it."""
        others = self.others(node)
        if not others:
            return "nobody to ask"
        try:
            return self.chance.choice(others).run("belayctl", "node", *words, "--timeout", PATIENCE, timeout_s=PATIENCE_S_MAX).strip()
        except (Failed, subprocess.TimeoutExpired) as failure:
            return str(failure).splitlines()[-1]

    def row(self, node):
        """As another one has it; None where it is no member, or nobody can be asked."""
        for other in self.others(node):
            listed = other.ask_or_none("node", "list", "--timeout", PATIENCE)
            if listed is not None:
                return next((row for row in listed["nodes"] if row["name"] == node.name), None)
        return None

    def begin(self):
        self.kind = self.chance.choice(("drain", "leave", "weight"))
        self.victim = self.chance.choice(list(self.cluster))
        name = self.victim.name
        if self.kind == "weight":
            over = self.chance.choice(((), ("--over", "2s")))
            return [self.kind, self.ask(self.victim, "weight", name, str(self.chance.choice((0, 10, WEIGHT * 3))), *over)]
        return [self.kind, self.ask(self.victim, "drain", name)]

    def end(self):
        return self.put_right(self.victim, self.kind == "leave")

    def put_right(self, node, leaves=False):
        """One step to where it was; one that has left by then is taken out first where it is to be."""
        row = self.row(node)
        if row is None:
            return self.enter(node) if not node.is_running and self.others(node) else None
        if row["state"] == "left" and leaves and node.is_running:
            return self.leave(node)
        if row["state"] == "left":
            return self.ask(node, "activate", node.name, "--weight", str(WEIGHT))
        if row["state"] == "draining":
            return self.ask(node, "drain", node.name, "--cancel")
        if row["weight"] != WEIGHT or row["ramp_ms"]:
            return self.ask(node, "weight", node.name, str(WEIGHT))
        return None

    def leave(self, node):
        """It goes for good, with its disk, and a new one of its name enters."""
        said = self.ask(node, "remove", node.name)
        if said != f"removed {node.name}":
            return said
        node.kill()
        node.wipe()
        return self.enter(node)

    def enter(self, node):
        if node.process is not None:  # It did not get in the last time.
            node.kill()
        try:
            self.cluster.restart(node)
        except (Failed, IndexError) as failure:
            return str(failure).splitlines()[0]
        return f"{node.name} has entered"

    def is_as_before(self, node):
        row = self.row(node)
        return node.is_running and row is not None and row["state"] == "active" and row["weight"] == WEIGHT and \
            row["ramp_ms"] == 0

    def make_good(self):
        """All else is whole by now."""
        for node in self.cluster:
            wait_for(f"{node.name} is as it was", lambda node=node: self.is_as_before(node) or
                     (self.put_right(node) and False), REPAIR_PATIENCE_S)


NEMESES = {each.name: each for each in (Kill, Pause, Partition, Wipe, Rollback, Handoff)}


class Chaos:
    """Runs nemeses of several kinds over a time, and notes what they do."""

    def __init__(self, names, cluster, network, chance, history, interval_s):
        self.kinds = [NEMESES[name](cluster, network, chance) for name in chance.sample(names, len(names))]
        self.cluster, self.chance, self.history, self.interval_s = cluster, chance, history, interval_s
        self.broken = []
        self.begun = {name: 0 for name in names}

    def run(self, stop):
        """Until `stop`, an event, is set. What is broken then stays so for make_good()."""
        while not stop.wait(self.interval_s * self.chance.uniform(0.5, 1.5)) and self.kinds:
            kind = self.next()
            if kind in self.broken:
                self.end(kind)
            else:
                self.begin(kind)

    def next(self):
        """Any of them, but first each of them once."""
        unused = [kind for kind in self.kinds if not self.begun[kind.name]]
        return unused[0] if unused else self.chance.choice(self.kinds)

    def begin(self, kind):
        if isinstance(kind, Wipe):
            self.make_good()
            self.cluster.await_settled()
        self.history.nemesis(kind.name)
        what = kind.begin()
        self.history.nemesis("wiped" if isinstance(kind, Wipe) else kind.name, what)
        self.broken.append(kind)
        self.begun[kind.name] += 1
        if isinstance(kind, Wipe):
            self.end(kind)

    def end(self, kind):
        self.history.nemesis(f"{kind.name}-end")
        self.broken.remove(kind)
        self.history.nemesis(f"{kind.name}-end", kind.end())

    def make_good(self):
        """Paused nodes go on before killed ones are waited for, and cuts are healed first of all."""
        order = {"partition": 0, "pause": 1, "handoff": 3}
        for kind in sorted(self.broken, key=lambda each: order.get(each.name, 2)):
            self.end(kind)
        for kind in self.kinds:
            if isinstance(kind, Handoff):
                kind.make_good()
