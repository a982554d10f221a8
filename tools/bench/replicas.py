"""Two nodes of which one has copies of what the other takes: Belay's and Redis's, under one name for the figures of
tools/bench/cluster. They are on loopback, or in namespaces of a Network (jepsen/rig/net.py), whose links can be cut."""

import json
import subprocess
import sys
import time

from measure import TOP

sys.path.insert(0, str(TOP / "jepsen"))

from rig.net import both_ways  # noqa: E402
from rig.nodes import NetNode  # noqa: E402
import native  # noqa: E402
from cluster import Cluster, Node  # noqa: E402
from daemon import check, program, wait_for  # noqa: E402
from redis_kit import Client, Redis, command  # noqa: E402

SETTINGS = ("memory.limit=4GiB", "limits.queue_delay=100ms")
MEMORY, OWN_COPY = 1, 4 | 16 # Of enum ack_level; GET_NO_TOUCH and GET_ANY: whoever is asked answers, if it has a copy.
PATIENCE_S = 300


class BelayPair:
    name = "Belay"
    load_words = ("--protocol", "native", "--ack", "replica")
    wait_words = load_words

    def __init__(self, network=None, count=2):
        self.network = network
        self.cluster = Cluster(count, make=self.make)

    def make(self, name, directory):
        if self.network is None:
            return Node(name, directory, settings=SETTINGS, shards=1)
        return NetNode(self.network, name, directory, settings=SETTINGS, shards=1)

    def __enter__(self):
        try:
            self.cluster.start()
        except BaseException:
            self.cluster.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *failure):
        self.cluster.__exit__(*failure)

    @property
    def servers(self):
        return self.cluster.nodes

    @property
    def primary(self):
        return self.cluster[0]

    @property
    def replica(self):
        return self.cluster[1]

    def cut(self):
        self.network.cut(both_ways([self.primary.name], [self.replica.name]))

    def restore(self):
        """The links, and the primary that was killed; wait until all is as before."""
        self.network.heal()
        self.primary.start()
        self.cluster.await_settled()


class RedisPair:
    name = "Redis"
    load_words = ("--protocol", "resp")
    wait_words = ("--protocol", "resp", "--wait", "1")

    def __init__(self, network=None, settings=()):
        self.network, self.settings = network, settings
        self.servers = []

    def place(self, name):
        if self.network is None:
            return {}
        return {"address": self.network.add(name), "wrapper": self.network.wrapper(name)}

    def start(self, name, *settings):
        server = Redis(settings=[("protected-mode", "no"), *self.settings, *settings], **self.place(name))
        server.__enter__()
        server.place_name = name
        self.servers.append(server)
        return server

    def __enter__(self):
        try:
            self.start("r1")
            self.start("r2", *self.following())
            self.await_copied()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()
        self.servers = []

    def following(self):
        return [("replicaof", f"{self.primary.address} {self.primary.port}")]

    @property
    def primary(self):
        return self.servers[0]

    @property
    def replica(self):
        return self.servers[1]

    def is_copied(self):
        with Client(self.replica.port, host=self.replica.address) as client:
            return b"master_link_status:up" in client.ask("INFO", "replication")

    def await_copied(self):
        wait_for("the replica has everything", self.is_copied, PATIENCE_S)

    def cut(self):
        self.network.cut(both_ways([self.primary.place_name], [self.replica.place_name]))


def bench(server, *words, timeout_s=600, expect=(0,)):
    """belay-bench on one server, of either kind; its document."""
    done = subprocess.run([program("belay-bench"), words[0], "--server", server.native, "--json",
                           *map(str, words[1:])], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s, check=False)
    check(done.returncode in expect, f"belay-bench {words}: exit {done.returncode}\n{done.stdout}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


class Load:
    """belay-bench run in the background, by a wrapper where it is to run elsewhere; end() gives its document."""

    def __init__(self, server, *words, wrapper=()):
        self.process = subprocess.Popen(
            [*wrapper, program("belay-bench"), "run", "--server", server.native, "--json", "--seconds", "3600",
             *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self):
        self.process.terminate()
        printed, said = self.process.communicate(timeout=120)
        check(printed, f"belay-bench said nothing: {said[-2000:]}")
        return json.loads(printed)


class BelayProbe:
    """Writes on one node, and asks the other for its own copy."""

    def __init__(self, pair):
        self.writer = native.Connection(pair.primary.native)
        self.reader = native.Connection(pair.replica.native)
        self.key = self.key_of_primary(pair)
        self.request = native.frame(native.GET, 1, {1: self.key, 2: OWN_COPY})

    def key_of_primary(self, pair):
        """One whose primary is the first node."""
        for i in range(1000):
            key = f"probe:{i}"
            self.writer.put(key.encode(), b"-", MEMORY)
            if pair.primary.ask("session", "where", key)["owners"][0]["name"] == pair.primary.name:
                return key.encode()
        raise AssertionError("no key has the first node as its primary")

    def write(self, value):
        self.writer.put(self.key, value, MEMORY)

    def sees(self, value):
        self.reader.socket.sendall(self.request)
        return value in self.reader.socket.recv(65536)

    def close(self):
        self.writer.close()
        self.reader.close()


class RedisProbe:
    def __init__(self, pair):
        self.writer = Client(pair.primary.port, host=pair.primary.address)
        self.reader = Client(pair.replica.port, host=pair.replica.address)
        self.request = command(["GET", "probe"])

    def write(self, value):
        check(self.writer.ask("SET", "probe", value) == b"OK", "SET")

    def sees(self, value):
        self.reader.socket.sendall(self.request)
        return value in self.reader.socket.recv(65536)

    def close(self):
        self.writer.__exit__()
        self.reader.__exit__()


def lags_ms(probe, samples):
    """From the acknowledgement to when the other node has shown it, in order; and how many of them it showed when it was
    asked for the first time: these took as long as it took to ask."""
    found, at_once = [], 0
    for number in range(samples):
        value = b"value-%08d-" % number
        probe.write(value)
        begin, looks = time.perf_counter(), 1
        while not probe.sees(value):
            check(time.perf_counter() < begin + 30, "a write does not come to the other node")
            looks += 1
        found.append(1000 * (time.perf_counter() - begin))
        at_once += looks == 1
        time.sleep(0.002)
    return sorted(found), at_once
