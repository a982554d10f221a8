"""Real nodes agree who is a member, who leads and who is down: they join, die, come back elsewhere, all start anew, and
one is removed. What their sessions do meanwhile is test_failover.py's business."""

import re
import shutil
import time
from contextlib import contextmanager

from cases import run_cases
from cluster import Cluster, Node
from daemon import SLOWNESS, check, wait_for

QUICK = ["cluster.heartbeat=100ms", "cluster.down_after=500ms", "cluster.cooldown=500ms"]


@contextmanager
def members(count):
    with Cluster(count, settings=QUICK) as cluster:
        cluster.start(settle=False)
        cluster.await_active()
        yield cluster


def metric(node, name):
    """The value of a sample, or None where the node does not tell."""
    status, text, _ = node.http("/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found[1]) if status == 200 and found else None


def metrics(cluster, name):
    """Of all that run; None where one of them does not tell."""
    values = [metric(node, name) for node in cluster.running()]
    return None if None in values else values


def agree(cluster):
    """The map's epoch and leader that all who run tell; None while they differ, or one does not tell."""
    told = {row and (row["epoch"], row["leader"]) for row in
            (node.ask_or_none("node", "list") for node in cluster.running())}
    return told.pop() if len(told) == 1 else None


def leads(cluster):
    """The only node that leads, as all see it; None while there is none."""
    one = agree(cluster)
    leaders = [node for node in cluster.running() if metric(node, 'belay_raft_role{role="leader"}') == 1]
    if one is None or len(leaders) != 1 or metric(leaders[0], "belay_raft_leader") != one[1]:
        return None
    return leaders[0]


def state(cluster, asked, name):
    return cluster.states(asked).get(name)


def link(asked, name):
    return next(row["link"] for row in asked.ask("node", "list")["nodes"] if row["name"] == name)


def await_leader(cluster):
    return wait_for("all see one leader", lambda: leads(cluster))


def await_voters(cluster, voters):
    wait_for(f"{voters} vote", lambda: sum(metrics(cluster, "belay_raft_votes") or [0]) == voters and
             set(metrics(cluster, 'belay_raft_members{kind="voter"}') or [0]) == {voters})


def test_join_and_agree():
    with members(3) as cluster:
        await_leader(cluster)
        await_voters(cluster, 3)
        for node in cluster:
            wait_for("all are active", lambda node=node: metric(node, 'belay_cluster_members{state="active"}') == 3)
            check(metric(node, "belay_control_frames_bad_total") == 0, "bad frames")
        cluster.restart(cluster.add("n4"))
        cluster.restart(cluster.add("n5"))
        cluster.await_active()
        await_voters(cluster, 5)


def test_voters_are_shown():
    """Who decides, and how many of them have to be there."""
    with members(4) as cluster:
        await_voters(cluster, 3)
        await_leader(cluster)

        def shown(node):
            listed, status = node.ask("node", "list"), node.ask("status")["cluster"]
            voters = [each["number"] for each in listed["nodes"] if each["votes"]]
            return listed["leader"], voters, status["leader"], status["voters"]

        def is_the_same():
            told = {str(shown(node)) for node in cluster}
            return len(told) == 1

        wait_for("all say the same", is_the_same)
        leader, voters, leader_too, voters_too = shown(cluster[0])
        check(leader == leader_too and leader in voters and voters == voters_too and len(voters) == 3, (leader, voters))
        lines = cluster[3].run("belayctl", "node", "list").splitlines()
        marks = {int(line[1:4]): line[0] for line in lines if re.match(r"[ *+]  \d  n\d ", line)}
        check(marks == {number: "*" if number == leader else "+" if number in voters else " " for number in range(1, 5)}, lines)
        check("* leads, + votes too" in lines[-1], lines)
        one, other, third = voters
        check(f"; nodes {one}, {other} and {third} vote, node {leader} leads\n" in cluster[3].run("belayctl", "status"), "status")


def test_leader_dies():
    with members(3) as cluster:
        await_voters(cluster, 3)
        leader = await_leader(cluster)
        leader.kill()
        for node in cluster.running():
            wait_for(f"{node.name} sees it down", lambda: state(cluster, node, leader.name) == "down")
        check(await_leader(cluster) is not leader, "it leads though it is dead")
        leader.set("listen.peer_port", "0")  # It comes back elsewhere.
        cluster.restart(leader)
        cluster.await_active()
        await_leader(cluster)
        await_voters(cluster, 3)


def test_reset():
    """A process that ends resets its connections, which the others ask each other about: it is out long before
    `down_after`. How long that takes is printed."""
    with Cluster(5, settings=["cluster.heartbeat=1s", "cluster.down_after=120s"]) as cluster:
        cluster.start(settle=False)
        cluster.await_active()
        leader = await_leader(cluster)
        victim = next(node for node in cluster if node is not leader)
        before = metric(leader, "belay_cluster_epoch")
        begin = time.monotonic()
        victim.kill()
        wait_for("the map says that it is down", lambda: metric(leader, 'belay_cluster_members{state="down"}') == 1)
        print(f"kill -9: down {1000 * (time.monotonic() - begin):.0f} ms later, at a heartbeat of 1 s and down_after of 120 s")
        wait_for("its slots have other owners", lambda: metric(leader, "belay_cluster_unsettled_slots") == 0)
        print(f"all slots settled {1000 * (time.monotonic() - begin):.0f} ms after the kill, "
              f"{metric(leader, 'belay_cluster_epoch') - before:.0f} epochs")
        # Of all: another one may have come to lead.
        check(sum(metrics(cluster, 'belay_suspicions_total{result="confirmed"}')) >= 1, "nobody was asked")
        check(sum(metrics(cluster, 'belay_verdicts_total{verdict="down"}')) == 1, "the leader did not say so")


def test_flapping():
    """One that is killed and started again and again has its slots again only once it was there for all of the cooldown: until
    then nobody's slots change for it, however often it comes and goes."""
    cooldown_s = 3 * SLOWNESS
    with Cluster(3, settings=[*QUICK[:2], f"cluster.cooldown={int(1000 * cooldown_s)}ms"]) as cluster:
        cluster.start()
        asked, flaps = cluster[0], cluster[2]
        flaps.kill()
        wait_for("it is down", lambda: state(cluster, asked, "n3") == "down")
        cluster.await_settled()
        owners = asked.ask("ring")["runs"]
        for _ in range(3):
            started = time.monotonic()
            cluster.restart(flaps)
            wait_for("it is heard", lambda: link(asked, "n3") == "up")
            check(state(cluster, asked, "n3") == "down" and asked.ask("ring")["runs"] == owners, "it came back at once")
            said = (asked.run("belayctl", "node", "list") + asked.run("belayctl", "cluster", "restart-check", "n1", expect=1) +
                    asked.run("belayctl", "cluster", "restart-check", "n3", "--json", expect=1))
            check(said.count("n3 runs again") == 3 and "n3 is down" not in said, said)
            flaps.kill()
            wait_for("that is noticed", lambda: link(asked, "n3") == "down")
            check(time.monotonic() - started < cooldown_s, "this machine is too slow to flap")
        started = time.monotonic()
        cluster.restart(flaps)
        wait_for("it is back", lambda: state(cluster, asked, "n3") == "active")
        check(time.monotonic() - started > 0.9 * cooldown_s, "it was back before the cooldown was over")
        check(sum(metrics(cluster, 'belay_verdicts_total{verdict="down"}')) == 1, "it went down more than once")
        check(sum(metrics(cluster, 'belay_verdicts_total{verdict="up"}')) == 1, "it came back more than once")


def test_two():
    """One of two votes. Without it nothing can be decided, and the other one serves on."""
    with members(2) as cluster:
        leader = await_leader(cluster)
        other = next(node for node in cluster if node is not leader)
        other.kill()
        wait_for("it is down", lambda: state(cluster, leader, other.name) == "down")
        cluster.restart(other)
        cluster.await_settled()
        leader.kill()
        other.run("belayctl", "session", "put", "key", "value")
        check(wait_for("it tells", lambda: state(cluster, other, leader.name)) == "active", "who decided that?")
        other.run("belayctl", "session", "get", "key")
        cluster.restart(leader)
        cluster.await_active()
        await_leader(cluster)


def test_all_at_once():
    with members(3) as cluster:
        await_voters(cluster, 3)
        before, _ = wait_for("all tell one map", lambda: agree(cluster))
        for node in cluster:
            node.kill()
        cluster.start(settle=False)
        cluster.await_active()
        await_leader(cluster)
        after, _ = wait_for("all tell one map", lambda: agree(cluster))
        check(after >= before, "the map went back")


def test_removed():
    with members(3) as cluster:
        await_voters(cluster, 3)
        leader = await_leader(cluster)
        gone = next(node for node in cluster if node is not leader)
        gone.kill()
        wait_for("it is down", lambda: state(cluster, leader, gone.name) == "down")
        cluster.remove(gone.name)
        for node in cluster.running():
            wait_for("it is no member", lambda: state(cluster, node, gone.name) is None)
        wait_for("it follows no more", lambda: metric(leader, 'belay_raft_members{kind="voter"}') == 1 and
                 metric(leader, 'belay_raft_members{kind="learner"}') == 1)
        gone.wipe()
        cluster.restart(gone)  # As another node.
        cluster.await_active()
        await_voters(cluster, 3)


def ends_as_removed(cluster, node):
    """It has noticed, says so, and does not come back by itself."""
    check(node.wait() == 3, "its exit code")
    check("node-removed" in node.log(), node.log())
    node.launch()
    check(node.wait() == 3, "it started again")
    check("was removed from its cluster" in node.log() and "--join TOKEN" in node.log(), node.log())
    cluster.nodes.remove(node)
    node.close()


def test_removed_notices():
    """A node that is removed while it runs, while it hangs, or while it is away, ends by itself as soon as it knows."""
    with Cluster(5, settings=QUICK) as cluster:
        cluster.start()
        first, away, hangs, runs = cluster[0], cluster[2], cluster[3], cluster[4]
        said = runs.run("belayctl", "node", "remove", runs.name, expect=2)  # At once: it never can.
        check(said == "", "it removes itself")
        first.run("belayctl", "node", "remove", runs.name)
        ends_as_removed(cluster, runs)
        cluster.await_settled()

        hangs.pause()
        cluster.remove(hangs.name)
        hangs.resume()
        ends_as_removed(cluster, hangs)
        cluster.await_settled()

        away.kill()
        cluster.remove(away.name)
        away.launch()  # Its map says that it is a member.
        ends_as_removed(cluster, away)
        cluster.await_settled()


def test_copied_directory():
    """A second node is started from a copy of a data directory: the first one ends, rather than to acknowledge what nobody
    else will ever see."""
    with Cluster(3, settings=QUICK) as cluster:
        cluster.start()
        first = cluster[2]
        second = Node(first.name, cluster.directory / "copy", settings=QUICK)
        shutil.copytree(first.data, second.data)
        cluster.nodes.append(second)
        second.start()
        check(first.wait() == 3, "its exit code")
        check("node-outlived" in first.log(), first.log())
        cluster.nodes.remove(first)
        first.close()
        cluster.await_settled()


def test_founder_leaves():
    """Of two nodes the one that decides is removed: the other decides then, and has all sessions."""
    with members(2) as cluster:
        cluster.await_settled()
        founder, other = cluster.nodes
        for number in range(50):
            founder.run("belayctl", "session", "put", f"key{number}", "value")
        other.run("belayctl", "node", "remove", founder.name)
        ends_as_removed(cluster, founder)
        check(await_leader(cluster) is other, "nobody leads")
        other.run("belayctl", "policy", "set", "web:", "idle_ttl=5m")
        for number in range(50):
            other.run("belayctl", "session", "get", f"key{number}")
        cluster.restart(cluster.add("n3"))
        cluster.await_settled()


def test_lost_map():
    """Raft's store is gone from a directory that was used: a node that voted must not come back as if it had not."""
    with members(3) as cluster:
        await_voters(cluster, 3)
        lost = cluster[1]
        lost.kill()
        shutil.rmtree(lost.data / "raft")
        lost.launch()
        check(lost.wait() == 1, "it started without its map")
        check("node remove" in lost.log(), lost.log())


if __name__ == "__main__":
    run_cases(__name__)
