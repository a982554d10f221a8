"""What breaks things. A nemesis has `begin()`, which breaks something and says what, and `end()`, which makes it good.

At most one thing of each kind is broken at a time; several kinds may be broken together. A wipe is different: a second
loss before the first is made good is more than any level promises to survive, so it first has all else made good, and
ends only when the cluster has settled.
"""

import shutil

from .net import both_ways

PARTITIONS = ("one", "halves", "ring", "one-way")
RING_NODES_MIN = 4  # Of fewer each one hears all others.


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


NEMESES = {each.name: each for each in (Kill, Pause, Partition, Wipe, Rollback)}


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
        order = {"partition": 0, "pause": 1}
        for kind in sorted(self.broken, key=lambda each: order.get(each.name, 2)):
            self.end(kind)
