"""libbelay and real nodes of a cluster: adds count once each through kill -9 of nodes, and calls find a successor."""

import re
import subprocess

from cases import long, run_cases
from cluster import Cluster
from daemon import BUILD, SLOWNESS, check

PROGRAMS = BUILD / "tests" / "integration"


def adder(cluster, adds, stdin):
    servers = ",".join(node.native for node in cluster)
    return subprocess.Popen([PROGRAMS / "client_adds", servers, "counter", str(adds), "replica"],
                            stdin=stdin, stdout=subprocess.PIPE, text=True)


@long
def test_adds_count_once_through_kills():
    """In the middle of each stretch another node is killed and started again, whoever the key's primary is."""
    with Cluster(3) as cluster:
        cluster.start()
        adding = adder(cluster, 500, subprocess.PIPE)
        try:
            for turn in range(10):
                check(adding.stdout.readline() == "adding\n", "nothing was added")
                if turn < 9:
                    node = cluster[turn % 3]
                    node.kill()
                    cluster.restart(node)
                    cluster.await_settled()
                adding.stdin.write("\n")
                adding.stdin.flush()
            said, _ = adding.communicate(timeout=120 * SLOWNESS)
        finally:
            adding.kill()
            adding.wait()
        print(said)
        check(adding.returncode == 0, said)
        check(int(re.search(r"disconnects=(\d+)", said)[1]) >= 3, said)


def test_every_node_answers_for_all():
    """Who is asked does not matter: each node of the list answers with what all have added."""
    with Cluster(3) as cluster:
        cluster.start()
        said, _ = adder(cluster, 1000, subprocess.DEVNULL).communicate(timeout=120 * SLOWNESS)
        check("ok=1000 maybe=0 other=0 value=1000 " in said, said)
        for node in cluster:
            shown = node.run("belayctl", "session", "get", "counter")
            check("1000" in shown, f"{node.name}: {shown}")


if __name__ == "__main__":
    run_cases(__name__)
