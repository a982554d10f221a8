"""Clusters of Belay and of Redis for tools/bench/handoff and tools/bench/spike: nodes that have a core of their own, clients in both
protocols, and sessions that go from one node to the others.

The last node, which gives what it has or is given its part, is on the first core, all others are on the second one. Clients are on
either. So what one machine has is shared out alike, whichever kind it is."""

import json
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from measure import LOAD_CORE, SERVER_CORE

from cluster import Cluster, Node
from daemon import check, program, reserve_port, wait_for
from redis_kit import Client, Error, Redis, port_of

# Who waits for a core does not fail, nor is turned away. Nothing is to be told to who asks but what is measured.
SETTINGS = ("memory.limit=4GiB", "limits.queue_delay=10s", "cluster.down_after=10s", "cluster.link_silent=10s")
SLOTS = 16384
PATIENCE_S = 600


def on_core(is_last):
    return ("taskset", "-c", SERVER_CORE if is_last else LOAD_CORE)


def bench(server, *words, expect=0):
    """belay-bench against a list of servers, "HOST:PORT,..."; its document."""
    done = subprocess.run([program("belay-bench"), words[0], "--server", server, "--json", "--timeout-ms", "60000",
                           *map(str, words[1:])], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False)
    check(expect is None or done.returncode == expect, f"belay-bench {words}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


class BelayCluster:
    name = "Belay"

    def __init__(self, count, settings=()):
        self.settings = (*SETTINGS, *settings)
        self.count = count
        self.cluster = Cluster(count, make=self.make)

    def make(self, name, directory):
        is_last = name == f"n{self.count}"
        return Node(name, directory, settings=self.settings, shards=1, wrapper=on_core(is_last))

    def __enter__(self):
        self.cluster.start()
        return self

    def __exit__(self, *failure):
        self.cluster.__exit__(*failure)

    def __getitem__(self, index):
        return self.cluster[index]

    def add(self, *settings):
        """One more, which joins by start(): it has the first core."""
        self.count += 1
        node = self.cluster.add(f"n{self.count}")
        node.settings += settings
        return node

    @property
    def native(self):
        return ",".join(node.native for node in self.cluster.running())

    @property
    def redirecting(self):
        """Where clients of a cluster of Redis begin, at one that stays."""
        return self.cluster[0].ready["cluster"]

    def loads(self, **words):
        """One in each protocol."""
        return [Load(self.native, "native", **words), Load(self.redirecting, "resp", "--protocol", "resp", "--cluster", **words)]

    def ring(self):
        """Of each slot its owners' names and its targets', the primary first."""
        slots = [None] * SLOTS
        for run in self.cluster[0].ask("ring")["runs"]:
            for slot in range(run["first"], run["last"] + 1):
                slots[slot] = (run["owners"], run["targets"])
        return slots

    def row(self, name):
        return next(row for row in self.cluster[0].ask("node", "list")["nodes"] if row["name"] == name)

    def await_part(self, name):
        """The node has slots, and nothing is on its way to it. Asks seldom: who asks takes a part of the cores."""
        def has_it():
            time.sleep(0.05)
            row = self.row(name)
            return row["ramp_ms"] == 0 and row["slots_primary"] + row["slots_copy"] > 0 and row["slots_coming"] == 0

        wait_for(f"{name} has its part", has_it, PATIENCE_S)

    def drain(self):
        """The last one. Returns how many sessions it had, and in what time it had left."""
        node = self.cluster[self.count - 1]
        sessions = node.ask("status")["sessions"]
        begin = time.monotonic()
        ended = self.cluster[0].ask("node", "drain", node.name, "--wait")
        took = time.monotonic() - begin
        check(ended["state"] == "left", ended)
        return sessions, took


class RedisCluster:
    """Primaries alone. The last one has these slots, the others all the rest."""
    name = "Redis"

    def __init__(self, count, slots):
        self.count, self.slots = count, sorted(slots)
        self.servers, self.held = [], []

    def __enter__(self):
        try:
            for number in range(self.count):
                self.start(number == self.count - 1)
            self.unite()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()
        for held in self.held:
            held.close()
        self.servers, self.held = [], []

    def start(self, is_last):
        bus = reserve_port()
        self.held.append(bus)
        # A node whose last slots go would become a replica.
        server = Redis(wrapper=on_core(is_last), settings=[
            ("cluster-enabled", "yes"), ("cluster-port", bus.getsockname()[1]), ("cluster-node-timeout", 15000),
            ("cluster-allow-replica-migration", "no")])
        server.bus = bus.getsockname()[1]
        server.__enter__()
        self.servers.append(server)

    def ask(self, index, *words):
        with Client(self.servers[index].port) as client:
            answer = client.ask(*words)
            check(not isinstance(answer, Error), (words, answer))
            return answer

    def unite(self):
        others = [slot for slot in range(SLOTS) if slot not in set(self.slots)]
        parts = [others[index::self.count - 1] for index in range(self.count - 1)] + [self.slots]
        for index, part in enumerate(parts):
            self.ask(index, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if part:
                self.ask(index, "CLUSTER", "ADDSLOTS", *part)
        for server in self.servers[1:]:
            self.ask(0, "CLUSTER", "MEET", "127.0.0.1", server.port, server.bus)

        def is_united():
            infos = [self.ask(index, "CLUSTER", "INFO") for index in range(self.count)]
            known = b"cluster_known_nodes:%d\r\n" % self.count
            return all(b"cluster_state:ok" in info and known in info for info in infos)

        wait_for("the nodes of Redis are a cluster", is_united, 60)

    @property
    def native(self):
        """Where clients begin, at one that stays."""
        return self.servers[0].native

    def loads(self, **words):
        """Two, as Belay has."""
        return [Load(self.native, name, "--protocol", "resp", "--cluster", **words) for name in ("first", "second")]

    def drain(self):
        """The last one. Returns how many sessions it had, and in what time it had given them to the others."""
        sessions = self.ask(self.count - 1, "DBSIZE")
        ids = [self.ask(index, "CLUSTER", "MYID").decode() for index in range(self.count)]
        left, begin = len(self.slots), time.monotonic()
        for number, to in enumerate(ids[:-1]):
            part = left // (len(ids) - 1 - number)
            left -= part
            if part > 0:
                done = subprocess.run(
                    ["redis-cli", "--cluster", "reshard", self.native, "--cluster-from", ids[-1], "--cluster-to", to,
                     "--cluster-slots", str(part), "--cluster-yes", "--cluster-pipeline", "100"],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
                check(done.returncode == 0, f"reshard: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        took = time.monotonic() - begin
        check(self.ask(self.count - 1, "DBSIZE") == 0, "reshard has left some")
        return sessions, took


class Load:
    """belay-bench run --record in the background, with sessions of its own: mark() begins to measure, end() gives the document."""

    def __init__(self, server, name, *words, keys, rate=0, connections=8, reads=50, value_bytes=1024, every=0, prefix="", more=()):
        self.directory = tempfile.TemporaryDirectory(prefix="belay-load-")
        self.record = Path(self.directory.name) / "record"
        self.server = server
        self.protocol = words
        self.process = subprocess.Popen(
            [program("belay-bench"), "run", "--server", server, *words, "--json", "--seconds", "3600", "--record", self.record,
             "--prefix", f"{prefix}{name}:", "--timeout-ms", "60000", "--keys", str(keys), "--reads", str(reads), "--value-bytes",
             str(value_bytes), "--connections", str(connections), *(("--rate", str(rate)) if rate else ()),
             *(("--every", str(every)) if every else ()), *map(str, more)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def await_begun(self):
        def has_begun():
            check(self.process.poll() is None, "the load ended")
            return self.record.exists() and any(self.record.read_bytes()[256 + 32 * 1000:256 + 32 * 1001])

        wait_for("the load began", has_begun, 60)

    def mark(self):
        self.process.send_signal(signal.SIGUSR1)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        printed, said = self.process.communicate(timeout=120)
        check(printed, f"belay-bench said nothing: {said[-2000:]}")
        self.said = said.strip()
        return json.loads(printed)

    def audit(self):
        """(acknowledged, what is not there as it was acknowledged)"""
        words = ["--server", self.server, *self.protocol, "--json", "--timeout-ms", "60000"]
        done = subprocess.run([program("belay-bench"), "audit", self.record, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        check(done.returncode in (0, 1), f"audit: {done.stderr[-2000:]}")
        row = json.loads(done.stdout)["all"]
        return row["acked"], sum(count for what, count in row.items() if what != "acked")

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.directory.cleanup()


class Meanwhile:
    """Loads, of which what they did while `with` lasted counts: `documents`, and what of all of them is the worst."""

    def __init__(self, loads, before_s=1):
        self.loads, self.before_s = loads, before_s

    def __enter__(self):
        try:
            for load in self.loads:
                load.await_begun()
            time.sleep(self.before_s)
            for load in self.loads:
                load.mark()
            self.begin = time.monotonic()
            time.sleep(0.05) # They look each 10 ms.
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, failure, *_):
        if failure is not None:
            self.close()
            return
        self.documents = [load.end() for load in self.loads]

    def close(self):
        for load in self.loads:
            load.close()

    def worst_ms(self, name, of="latency"):
        return max(document[of][f"{name}_us"] for document in self.documents) / 1000

    @property
    def per_second(self):
        return sum(document["per_second"] for document in self.documents)

    @property
    def errors(self):
        return sum(sum(document["errors"].values()) + sum(document["record_reads"].values()) for document in self.documents)

    @property
    def said(self):
        """Which errors there were, and what the clients said of them, for a note."""
        names = {name for document in self.documents for name in document["errors"]}
        lines = [load.said.splitlines()[0] for load in self.loads if load.said]
        return "".join(f"; {text}" for text in [*sorted(names), *lines])

    @property
    def operations(self):
        return sum(document["operations"] for document in self.documents)

    def audits(self):
        found = [load.audit() for load in self.loads]
        return sum(acked for acked, _ in found), sum(lost for _, lost in found)


class FieldWriter:
    """Writes one field of one session so many times a second, and notes how long each write took."""

    def __init__(self, server, key, per_second):
        host, port = server.rsplit(":", 1)
        self.clients = {(host, int(port)): Client(port, host=host)}
        self.at = (host, int(port))
        self.key, self.per_second = key, per_second
        self.took_ms, self.number, self.going = [], 0, True
        self.failure = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def ask(self, at, *commands):
        if at not in self.clients:
            self.clients[at] = Client(at[1], host=at[0])
        answer = None
        for command in commands:
            answer = self.clients[at].ask(*command)
        return answer

    def write(self):
        """As a client of a cluster does: where it is told to go it goes."""
        command = ("HSET", self.key, "hot", f"{self.number:050d}")
        answer = self.ask(self.at, command)
        while isinstance(answer, Error):
            kind, *_, place = answer.split()
            check(kind in (b"MOVED", b"ASK"), answer)
            host, port = place.decode().rsplit(":", 1)
            at = (host or self.at[0], int(port))
            if kind == b"MOVED":
                self.at = at
            answer = self.ask(at, *((("ASKING",),) if kind == b"ASK" else ()), command)
        self.number += 1

    def run(self):
        begin, due = time.monotonic(), 0
        try:
            while self.going:
                wait = begin + due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                asked = time.monotonic()
                self.write()
                self.took_ms.append((time.monotonic() - asked) * 1000)
                # What was due while one took long is not made up for: it would be a load of its own.
                due = max(due + 1 / self.per_second, asked - begin)
        except Exception as failure: # To who waits.
            self.failure = failure

    def forget(self):
        self.took_ms = []

    def end(self):
        """What the writes took, in ms, since forget()."""
        self.going = False
        self.thread.join()
        for client in self.clients.values():
            client.__exit__()
        if self.failure is not None:
            raise self.failure
        check(self.took_ms, "nothing was written")
        return self.took_ms


def ports_of(cluster):
    return [port_of(node) for node in cluster.cluster.running()]
