"""Several real belayd that are one cluster, for a test: each with a directory of its own and ports that the system picks.

    with Cluster(3) as cluster:
        cluster.start()
        cluster[0].kill()
        cluster[0].start()
        cluster.await_settled()

A node keeps the ports of its first start, so that clients and the other nodes find it again; nobody else gets them while
it is down. The first node begins the cluster, the others enter it with a token of the first one that runs.
"""

import binascii
import json
import shutil
import signal
import tempfile
from pathlib import Path

from daemon import Daemon, Failed, check, reserve_port, wait_for

PATIENCE_S = 60
# Who dies is noticed soon, and serves again soon after it came back.
SETTINGS = ["cluster.heartbeat=300ms", "cluster.down_after=2s", "cluster.cooldown=1s"]
# For tests in which nobody fails, and no client may see an error. By default a node that got no processor for a third of a
# second takes it that others stood in for it, and refuses what writes it had taken in before: BUSY.
NOBODY_FAILS = ["cluster.link_silent=10s", "cluster.down_after=60s"]
# What belayctl asks with one command and prints as it comes.
DOCUMENTS = {("status",): "status", ("ring",): "ring", ("node", "list"): "nodes", ("policy", "list"): "policies",
             ("join-token",): "join-token", ("archive", "status"): "archive"}
PORTS = ("listen.port", "listen.cluster_port", "listen.peer_port", "listen.http_port")


class Node(Daemon):
    """One member. `launch()` enters the cluster with `token` as long as the directory is empty."""

    def __init__(self, name, directory, settings=(), wrapper=(), shards=2):
        super().__init__(settings=["listen.peer_port=0", "listen.cluster_port=0", f"node.name={name}", *SETTINGS,
                                   *settings], directory=directory, wrapper=wrapper, shards=shards)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.token = None
        self.paused = False
        self.held = {}  # Setting to the socket that keeps its port.

    @property
    def is_empty(self):
        return not self.data.exists() or not any(self.data.iterdir())

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def command(self):
        joining = ["--join", self.token] if self.token is not None and self.is_empty else []
        return super().command() + joining

    def launch(self):
        for key in PORTS:
            if f"{key}=0" in self.settings:
                self.held[key] = reserve_port()
                self.set(key, self.held[key].getsockname()[1])
        super().launch()

    def set(self, key, value):
        """Change one setting for the next start."""
        self.settings = [each for each in self.settings if not each.startswith(f"{key}=")] + [f"{key}={value}"]

    def pause(self):
        self.send(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.send(signal.SIGCONT)
        self.paused = False

    def kill(self):
        self.paused = False
        return super().kill()

    def close(self):
        super().close()
        for held in self.held.values():
            held.close()

    def wipe(self):
        """Its disk is lost. It must not run."""
        check(self.process is None, f"{self.name} still runs")
        shutil.rmtree(self.data, ignore_errors=True)

    def ask(self, *words):
        """What belayctl says, as a document; without starting it, where that is what the node itself says."""
        if words in DOCUMENTS:
            return self.document(DOCUMENTS[words])
        return json.loads(self.run("belayctl", *words, "--json"))

    def ask_or_none(self, *words):
        """None as well where the node cannot be asked now."""
        try:
            return self.ask(*words)
        except (Failed, ValueError):
            return None


class Cluster:
    """`count` nodes n1, n2, ... `make(name, directory)` gives a node where it is to be another kind of Node."""

    def __init__(self, count, settings=(), shards=2, make=None):
        self.directory = Path(tempfile.mkdtemp(prefix="belay-cluster-"))
        self.make = make or (lambda name, directory: Node(name, directory, settings=settings, shards=shards))
        self.nodes = []
        self.ring = None # Kept by owners(); None: to be asked for.
        for number in range(count):
            self.add(f"n{number + 1}")

    def __enter__(self):
        return self

    def __exit__(self, _, failure, *__):
        try:
            for node in self.nodes if failure is not None else ():
                failure.add_note(f"--- log of {node.name}\n{node.log_end()}---")
        finally:
            self.close()

    def __getitem__(self, index):
        return self.nodes[index]

    def __len__(self):
        return len(self.nodes)

    def __iter__(self):
        return iter(self.nodes)

    def close(self):
        for node in self.nodes:
            node.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def add(self, name):
        """One more node, not started."""
        node = self.make(name, self.directory / name)
        self.nodes.append(node)
        return node

    def running(self):
        return [node for node in self.nodes if node.is_running and not node.paused]

    def start(self, settle=True):
        """Begin the cluster, or all nodes of it that do not run."""
        idle = [node for node in self.nodes if not node.is_running]
        if all(node.is_empty for node in self.nodes):
            idle.pop(0).start()
        for node in idle:
            self.launch(node)
        for node in idle:
            node.await_ready()
        if settle:
            self.await_settled()
        return self

    def launch(self, node):
        """Begin to start it; where its directory is empty it enters the cluster."""
        if node.is_empty:
            node.token = self.token()
        node.launch()

    def restart(self, node):
        self.launch(node)
        node.await_ready()

    def token(self):
        """What a new node enters with."""
        return self.running()[0].ask("join-token")["token"]

    def remove(self, name, patience_s=PATIENCE_S):
        """Take the member of that name, which is gone for good, out of the map, once it is known to be down."""
        asked = self.running()[0]
        wait_for(f"{name} is down", lambda: self.states(asked).get(name) == "down", patience_s)
        asked.run("belayctl", "node", "remove", name)

    def states(self, node):
        """As this node's map has it: name to state; empty where it cannot be asked."""
        listed = node.ask_or_none("node", "list")
        return {row["name"]: row["state"] for row in listed["nodes"]} if listed else {}

    def voters(self):
        """The nodes that decide, by the map of the first that runs."""
        names = {row["name"] for row in self.running()[0].ask("node", "list")["nodes"] if row["votes"]}
        return [node for node in self.nodes if node.name in names]

    def owners(self, key):
        """The nodes that own a key by the map of the first that runs. A key without {tag}."""
        slot = binascii.crc_hqx(key, 0) % 16384
        asked = self.running()[0]
        if self.ring is None:
            self.ring = asked.ask("ring")["runs"]
        run = next(run for run in self.ring if run["first"] <= slot <= run["last"])
        return [node for node in self.nodes if node.name in run["owners"]]

    def is_active(self):
        """Do all that run agree that those are members, and serve?"""
        running = self.running()
        return all(self.states(node).get(other.name) == "active" for node in running for other in running)

    def unsettled(self):
        """What keeps it from being settled: active, one map, every slot at its owners, every link up, nothing under way.
        None: it is."""
        running, epochs = self.running(), set()
        names = {node.name for node in running}
        for node in running:
            listed = node.ask_or_none("node", "list")
            if listed is None:
                return f"{node.name} does not answer"
            epochs.add(listed["epoch"])
            status = node.ask_or_none("status")
            if status is None or status["cluster"]["slots_not_level"]:
                return f"{node.name} has slots that are not level: {status and status['cluster']}"
            rows = {row["name"]: row for row in listed["nodes"]}
            for name in names:
                row = rows.get(name)
                if row is None or row["state"] != "active" or row["link"] == "down":
                    return f"{node.name} has {name} as {row}"
            for name, row in rows.items():
                if row["slots_coming"] or (name in names and row["records_behind"]):
                    return f"{node.name} has {name} as {row}"
        return None if len(epochs) == 1 else f"epochs {sorted(epochs)}"

    def is_settled(self):
        return self.unsettled() is None

    def await_active(self, patience_s=PATIENCE_S):
        wait_for("all that run are active members", self.is_active, patience_s, pause_s=0.1)

    def await_settled(self, patience_s=PATIENCE_S):
        try:
            wait_for("the cluster has settled", self.is_settled, patience_s, pause_s=0.1)
        except Failed as failure:
            raise Failed(f"{failure}: {self.unsettled()}") from None
