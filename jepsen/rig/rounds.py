"""One round: a cluster, workers, a nemesis, healing, the reads at the end, the verdict."""

import shutil
import threading
import time
from pathlib import Path

from daemon import SLOWNESS, Failed, wait_for

from . import edn, history
from .checkers import CHECKERS
from .clients import NativeClient, Refused, RespClient, Unknown, unequal
from .nemesis import Chaos
from .net import Network
from .nodes import net_cluster
from .workloads import WORKLOADS, chance_of

FINAL_TRIES_S = 30
SETTLE_PATIENCE_S = 60


class Worker(threading.Thread):
    """One client of one node, with one operation in flight. Its process number changes after one that nobody knows
    the end of."""

    def __init__(self, plan, number):
        super().__init__(name=f"worker {number}", daemon=True)
        self.plan, self.number, self.process = plan, number, number
        self.chance = chance_of(plan.options.seed, "worker", number)
        self.node = plan.cluster[number // 2 % len(plan.cluster)]
        self.is_resp = number % 2 == 1
        self.address = self.node.native
        self.client = (RespClient if self.is_resp else NativeClient)(self.address, plan.options.timeout * SLOWNESS)
        self.numbers = 0
        self.failure = None

    def next_number(self):
        self.numbers += 1
        return self.numbers

    def another_address(self):
        return self.chance.choice([node.native for node in self.plan.cluster])

    def creates(self, keys):
        """A key of which this worker alone begins new lives."""
        natives = (self.plan.options.concurrency + 1) // 2
        return self.chance.choice(range(self.number // 2 % keys, keys, min(natives, keys)))

    def run(self):
        pause_s = self.plan.options.concurrency / self.plan.options.rate
        try:
            while not self.plan.stop.is_set():
                if self.do(self.plan.workload.next(self)) == "fail":
                    time.sleep(0.05)
                time.sleep(pause_s * self.chance.uniform(0.5, 1.5))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def do(self, operation):
        """Returns its type in the end, and writes both lines."""
        add = self.plan.history.add
        words = {"node": self.node.name, "final": operation.final}
        add("invoke", self.process, operation.f, operation.value, ack=operation.ack, **words)
        try:
            value, level = operation.act()
        except (Refused, Unknown) as error:
            kind = "fail" if isinstance(error, Refused) or operation.is_read else "info"
            add(kind, self.process, operation.f, operation.value, error=str(error), **words)
            if kind == "info":
                self.process += self.plan.options.concurrency
                self.plan.workload.unsure(self, operation.value)
            return kind
        add("ok", self.process, operation.f, value, level=level, **words)
        return "ok"

    def read_all(self):
        """Every key once more. A read that fails is tried again; where one does not succeed the checker sees that."""
        end = time.monotonic() + FINAL_TRIES_S * SLOWNESS
        for key in self.plan.workload.key_numbers():
            while self.do(self.plan.workload.read(self, key, final=True)) != "ok" and time.monotonic() < end:
                time.sleep(0.1)


class Plan:
    """What all threads of a round share."""

    def __init__(self, options, cluster, history_, network):
        self.options, self.cluster, self.history, self.network = options, cluster, history_, network
        self.workload = WORKLOADS[options.workload](options.workload)
        self.stop = threading.Event()


def copies_differ(plan):
    """What the owners' own copies of the sessions disagree about; empty: they are equal."""
    keys = [plan.workload.key_name(key) for key in plan.workload.key_numbers()]
    try:
        found = list(unequal(plan.cluster, keys, min(2, len(plan.cluster))))
    except (Refused, Unknown) as error:
        return [f"a node does not tell: {error}"]
    return [f"{key.decode()}: {present}" for key, present in found]


def run_round(options, store):
    """Returns (is it good, the document of results). Everything of the round is left in `store`."""
    store = Path(store)
    store.mkdir(parents=True, exist_ok=True)
    written = history.History(store / "history.edn")
    network = Network()
    with net_cluster(network, options.nodes, settings=options.settings) as cluster:
        try:
            problems, begun = play(Plan(options, cluster, written, network))
        finally:
            written.close()
            keep_logs(cluster, store)
    result = CHECKERS[options.workload](history.read(store / "history.edn"))
    for problem in problems:
        result.wrong(problem)
    for name, count in begun.items():
        result.counts[f"nemesis-{name}"] = count
        if not count:
            result.wrong(f"the nemesis {name} did nothing")
    result.counts["packets-cut"] = network.dropped()
    if begun.get("partition") and not result.counts["packets-cut"]:
        result.wrong("no cut took a packet")
    document = {"workload": options.workload, "nemesis": options.nemesis, "seed": options.seed,
                "nodes": options.nodes, **result.document()}
    (store / "results.edn").write_text(edn.write({edn.Keyword(name): value for name, value in document.items()}) + "\n",
                                       encoding="utf-8")
    return result.valid, document


def play(plan):
    """Returns (problems that no history shows, how often each nemesis did something)."""
    options, cluster = plan.options, plan.cluster
    cluster.start(settle=len(cluster) > 1)
    workers = [Worker(plan, number) for number in range(options.concurrency)]
    chaos = Chaos(options.nemesis, cluster, plan.network, chance_of(options.seed, "nemesis"), plan.history,
                  options.interval)
    for worker in workers:
        worker.start()
    timer = threading.Timer(options.time_limit, plan.stop.set)
    timer.start()
    try:
        chaos.run(plan.stop)
        plan.stop.wait()
    finally:
        plan.stop.set()
        timer.cancel()
    for worker in workers:
        worker.join()
        if worker.failure is not None:
            raise worker.failure
    chaos.make_good()
    plan.history.nemesis("healed")
    problems = []
    if len(cluster) > 1:
        problems += settle(plan)
    for worker in workers:
        worker.client.close()
        worker.read_all()
        worker.client.close()
    return problems, chaos.begun


def settle(plan):
    """Wait until all copies are equal."""
    try:
        plan.cluster.await_settled(SETTLE_PATIENCE_S)
        wait_for("all copies are equal", lambda: not copies_differ(plan), SETTLE_PATIENCE_S)
    except Failed as failure:
        return [f"after healing: {failure}", *copies_differ(plan)[:3]]
    return []


def keep_logs(cluster, store):
    for node in cluster:
        if node.log_path.exists():
            shutil.copyfile(node.log_path, store / f"{node.name}.log")
