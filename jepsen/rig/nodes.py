"""Real belayd, each in its own namespace of a Network: what `Cluster` of tests/lib makes its nodes with here."""

import os
import signal
from pathlib import Path

from cluster import Cluster, Node


class NetNode(Node):
    """At its own address, on the usual ports."""

    def __init__(self, network, name, directory, settings=(), shards=1):
        address = network.add(name)
        own = [f"listen.address={address}", "listen.insecure=yes", *settings]
        super().__init__(name, directory, settings=own, wrapper=network.wrapper(name), shards=shards)
        for key, port in (("listen.port", 7400), ("listen.cluster_port", 7401), ("listen.peer_port", 7402),
                          ("listen.http_port", 7403)):
            self.set(key, port)
        self.address = address

    @property
    def pid(self):
        """Of belayd, which is the child of what wraps it."""
        outer = self.process.pid
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else outer

    def send(self, number):
        if self.is_running:
            os.kill(self.pid, number)

    def close(self):
        if self.is_running:
            self.send(signal.SIGKILL)
        super().close()


def net_cluster(network, count, settings=(), shards=1):
    """Nodes n1, n2, ... that are to be one cluster."""
    return Cluster(count, make=lambda name, directory: NetNode(network, name, directory, settings, shards))
