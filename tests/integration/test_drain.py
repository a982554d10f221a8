"""A node gives what it has to others while it serves: drained, taken back, stopped, brought in again, taken out."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import native
from cases import run_cases
from cluster import Cluster
from daemon import SLOWNESS, Daemon, check, program, wait_for
from load import Load, audit
from test_belayctl import manual_keys


def failing(node, *words, expect=1):
    """What is said on stderr."""
    patience_s = 100 if "--wait" in words else 15
    done = subprocess.run([program("belayctl"), "--timeout", f"{int(patience_s * SLOWNESS)}s", *words],
                          env={**os.environ, "BELAY_SERVER": node.native}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120 * SLOWNESS, check=False)
    check(done.returncode == expect, (words, done.returncode, done.stdout, done.stderr))
    return done.stderr


def row(node, name):
    listed = node.ask("node", "list")
    return next((row for row in listed["nodes"] if row["name"] == name), None)


def owns(node, name):
    found = row(node, name)
    return found["slots_primary"] + found["slots_copy"]


def entries(record):
    """How many are in it."""
    data = Path(record).read_bytes() if Path(record).exists() else b""
    return (len(data.rstrip(b"\0")) - 256) / 32


def check_switched(cluster, drained):
    """What it was the primary of went over from hand to hand."""
    switches = {node.name: node.ask("status")["switch"] for node in cluster}
    released = switches[drained.name]["released"]
    check(released > 2000 and sum(each["taken"] for each in switches.values()) >= released, switches)
    check(set(switches[drained.name]["held_us"]) == {"count", "p50", "p99", "p999", "max"}, switches)


def test_under_load():
    """One of three is drained while clients in both languages write and read, through it as well: no request fails, and
    nothing is lost. As long as it runs it passes on what it is asked; then it is taken out."""
    with Cluster(3) as cluster, tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        cluster.start()
        first, drained = cluster[0], cluster[2]
        loads = {}
        for protocol in ("native", "resp"):
            record = Path(directory) / protocol
            loads[protocol] = Load(drained, record, "--protocol", protocol, "--prefix", f"{protocol}:", "--reads", 40,
                                   "--rate", 1000, "--connections", 4, "--keys", 3000, "--timeout-ms", int(5000 * SLOWNESS))
        records = [Path(directory) / protocol for protocol in loads]
        try:
            wait_for("they write", lambda: all(entries(record) > 1000 for record in records))
            ended = first.ask("node", "drain", "n3", "--wait")
            check(ended["state"] == "left" and ended["slots"] == 0 and ended["slots_moved"] > 8000, ended)
            check(set(ended) == manual_keys()["node drain"], ended)
            check(ended["sessions"] > 300 and ended["session_bytes"] > 0, ended)
            check(owns(first, "n3") == 0 and cluster.states(drained)["n3"] == "left", "it owns some")
            check_switched(cluster, drained)
            before = [entries(record) for record in records]
            wait_for("they go on", lambda: all(entries(record) > count + 1000 for record, count in zip(records, before)))
        finally:
            said = {protocol: load.end() for protocol, load in loads.items()}
        for protocol, (document, text) in said.items():
            check(not document["errors"], (protocol, document, text))
        for protocol, record in zip(loads, records):
            for node in cluster:
                check(audit(node, record, "--protocol", protocol) > 1000, protocol)
        first.run("belayctl", "node", "remove", "n3")
        check(drained.wait() == 3, "it noticed that it was removed")
        check(row(first, "n3") is None, "it is a member")
        cluster.nodes.remove(drained)
        drained.close()
        cluster.await_settled()


def test_refused():
    with Cluster(2) as cluster:
        cluster.start()
        first, second = cluster
        check("there is no such node" in failing(first, "node", "drain", "n9"), "unknown")
        check("there is no such node" in failing(first, "node", "drain", "n9", "--cancel"), "unknown")
        failing(first, "node", "drain", "n2", "--wait", "--cancel", expect=2)
        check(first.run("belayctl", "node", "drain", "n2", "--cancel") == "n2 was not draining\n", "nothing to be taken back")
        said = first.run("belayctl", "node", "drain", "n2", "--wait")
        check("n2 is drained: 16,384 slots" in said and "it may be stopped, or taken out" in said, said)
        check("n2 has left; node drain n2 --wait says" in first.run("belayctl", "node", "drain", "n2"), "again")
        check(first.ask("node", "drain", "n2", "--wait")["slots_moved"] == 0, "again")
        check("no other node could take its sessions" in failing(second, "node", "drain", "n1", "--wait"), "the last one")
        check("it has left already; node activate brings it back" in failing(first, "node", "drain", "n2", "--cancel"), "cancel")
        second.kill()  # It holds nothing: nobody misses it, and it comes back as it was.
        first.run("belayctl", "session", "put", "key", "value")
        wait_for("it is missed", lambda: row(first, "n2")["link"] == "down")
        check("it is left: start it first" in failing(first, "node", "activate", "n2"), "activate")
        check(cluster.states(first)["n2"] == "left", "activate")
        cluster.restart(second)
        wait_for("it is as it was", lambda: cluster.states(second).get("n2") == "left")
        check("value" in second.run("belayctl", "session", "get", "key"), "it passes on")
        third = cluster.add("n3")
        cluster.restart(third)
        wait_for("it is in", lambda: cluster.states(first).get("n3") == "active")
        third.kill()
        wait_for("it is down", lambda: cluster.states(first).get("n3") == "down")
        check("it is down: only a node that runs can be drained" in failing(first, "node", "drain", "n3"), "down")
        first.kill()
        failing(first, "node", "drain", "n2", expect=3)


def test_cancel():
    """Taken back while slots move: who waits is told, and all is as before."""
    with Cluster(4, settings=["cluster.down_after=60s"]) as cluster:
        cluster.start()
        cluster[0].run("belay-bench", "fill", "--sessions", 3000, "--prefix", "f:")
        stuck = next(node for node in cluster if node not in cluster.voters())
        first, drained = [node for node in cluster if node is not stuck][:2]
        name = drained.name
        stuck.pause()  # What it is to take cannot move meanwhile; the others are a majority.
        waits = subprocess.Popen([program("belayctl"), "--json", "node", "drain", name, "--wait"], stdin=subprocess.DEVNULL,
                                 env={**os.environ, "BELAY_SERVER": first.native}, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        try:
            wait_for("it is draining", lambda: cluster.states(first).get(name) == "draining")
            said = first.run("belayctl", "node", "drain", name, "--cancel")
            check(said == f"{name} is active\n", said)
            document, _ = waits.communicate(timeout=60 * SLOWNESS)
        finally:
            waits.kill()
            waits.wait()
            stuck.resume()
        check(waits.returncode == 1 and "taken back" in json.loads(document)["error"]["text"], document)
        cluster.await_settled()
        for node in cluster:
            check(node.run("belay-bench", "check", "--sessions", 3000, "--prefix", "f:") ==
                  "present=3000 lost=0 wrong=0\n", "sessions")
        check(owns(drained, name) > 6000, "it has no slots again")


def test_undecided():
    """Without a leader nothing moves, and who waits is told why."""
    settings = ["cluster.down_after=60s", "cluster.heal_rate=64KiB"]  # It is not done before the leader is gone.
    with Cluster(3, settings=settings) as cluster, tempfile.TemporaryFile(mode="w+") as said:
        cluster.start()
        first = cluster[0]
        first.run("belay-bench", "fill", "--sessions", 3000, "--value-bytes", 200)
        first.run("belayctl", "node", "drain", "n3")

        def only_voter():  # Of the two that stay one decides.
            voters = cluster.voters()
            return voters[0] if len(voters) == 1 else None

        leader = wait_for("one decides", only_voter)
        asked = next(node for node in cluster.nodes[:2] if node is not leader)
        waits = subprocess.Popen([program("belayctl"), "node", "drain", "n3", "--wait"], stdin=subprocess.DEVNULL,
                                 env={**os.environ, "BELAY_SERVER": asked.native}, stdout=subprocess.DEVNULL, stderr=said)
        try:
            wait_for("it waits", lambda: os.fstat(said.fileno()).st_size > 0)
            leader.pause()

            def is_told():
                said.seek(0)
                return "nobody leads the cluster" in said.read()

            wait_for("it is told", is_told)
            leader.resume()
            check(waits.wait(60 * SLOWNESS) == 0, "it goes on")
        finally:
            waits.kill()
            waits.wait()


def interrupted(node, *words, until):
    """What is on a terminal where Ctrl-C is pressed once `until` is there."""
    terminal, end = os.openpty()
    asks = subprocess.Popen([program("belayctl"), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=end,
                            env={**os.environ, "BELAY_SERVER": node.native})
    os.close(end)
    said = b""
    try:
        while more := os.read(terminal, 4096):
            said += more
            if until in said and asks.poll() is None:
                asks.send_signal(signal.SIGINT)
    except OSError:  # Nobody has the other end any more.
        pass
    finally:
        os.close(terminal)
        asks.kill()
    check(asks.wait() == -signal.SIGINT, (asks.returncode, said))
    return said


def test_given_up():
    """Who waits ends with Ctrl-C, or after --timeout: that is told, and what was asked for goes on."""
    with Cluster(3, settings=["cluster.heal_rate=64KiB"]) as cluster:  # It takes longer than the test.
        cluster.start()
        first = cluster[0]
        first.run("belay-bench", "fill", "--sessions", 20000, "--value-bytes", 500)
        check(first.run("belayctl", "node", "drain", "n3", "--cancel") == "n3 was not draining\n", "nothing to take back")
        said = interrupted(first, "node", "drain", "n3", "--wait", until=b"slots moved [")
        check(b"warning" not in said, said)
        check(re.search(rb"[^\n]\r?\nn3 goes on draining: node drain n3 --wait shows how far it is, --cancel takes it back\r?\n$",
                        said), said)
        check(cluster.states(first)["n3"] == "draining", "it goes on")
        late = failing(first, "node", "drain", "n3", "--wait", "--timeout", "1s", expect=3)
        check("it is not drained yet, and goes on draining" in late, late)
        late = failing(first, "cluster", "restart-check", "--wait", "--timeout", "1s", expect=3)
        check("waits: n3 is draining" in late and "not to be restarted yet" in late, late)
        check(late.count("slots are on their way") == 1, late)

        late = failing(first, "node", "remove", "n2", "--timeout", "1s", expect=3)
        check("warning: 1 node is left, and each session is to have 2 copies" in late, late)
        check("goes on draining" in late and cluster.states(first)["n2"] == "draining", late)
        said = interrupted(first, "node", "remove", "n2", until=b"slots moved [")
        check(re.search(rb"[^\n]\r?\nn2 goes on draining: node remove n2 goes on with it, ", said), said)
        for name in ("n2", "n3"):
            check(first.run("belayctl", "node", "drain", name, "--cancel") == f"{name} is active\n", name)


def test_restart_check_says_what_changes():
    """Who waits is told when there is another reason, not only after ten seconds."""
    with Cluster(2, settings=["cluster.down_after=60s"]) as cluster, tempfile.TemporaryFile(mode="w+") as said:
        cluster.start()
        first = cluster[0]
        first.run("belayctl", "node", "degrade", "n2")
        began = time.monotonic()
        waits = subprocess.Popen([program("belayctl"), "cluster", "restart-check", "n1", "--wait"], stdin=subprocess.DEVNULL,
                                 env={**os.environ, "BELAY_SERVER": first.native}, stdout=subprocess.DEVNULL, stderr=said)
        try:
            def told(text):
                said.seek(0)
                return text in said.read()

            wait_for("it waits", lambda: told("waits: n2 is degraded"))
            first.run("belayctl", "node", "weight", "n2", 1, "--over", "1h") # First: without any reason it would wait no more.
            first.run("belayctl", "node", "undegrade", "n2")
            wait_for("it is told", lambda: told("the weight of n2 is changing"), 9)
        finally:
            waits.kill()
            waits.wait()
        print(f"told after {time.monotonic() - began:.1f} s")


def test_dies():
    """One that no longer answers is no node that has left, though others have all that it had: only once it is back and knows
    that."""
    with Cluster(3, settings=["cluster.down_after=4s"]) as cluster:
        cluster.start()
        first, drained = cluster[0], cluster[2]
        first.run("belay-bench", "fill", "--sessions", 500, "--prefix", "f:")
        drained.pause()
        said = failing(first, "node", "drain", "n3", "--wait")
        check("it went down: others have its slots, but it may not know" in said, said)
        check(cluster.states(first)["n3"] == "down" and owns(first, "n3") == 0, first.ask("node", "list"))
        drained.resume()
        wait_for("it has left", lambda: cluster.states(first).get("n3") == "left")
        check(drained.run("belay-bench", "check", "--sessions", 500, "--prefix", "f:") ==
              "present=500 lost=0 wrong=0\n", "sessions")


def test_removed_once_it_knows():
    """One that drains and owns nothing is taken out only once it has heard that: until then it may take writes by an older map."""
    with Cluster(2, settings=["cluster.down_after=60s"]) as cluster:
        cluster.start()
        first, ready = cluster[0], cluster.add("n3")
        ready.set("node.weight", 0)
        cluster.restart(ready)
        wait_for("it is in", lambda: cluster.states(first).get("n3") == "active")
        ready.pause()
        with native.Connection(first.native) as asked:
            def step():
                head, value = asked.call(native.ADMIN, {1: b"node-remove", 2: b"n3"})
                check(head.get(1, 0) == native.OK, head)
                return json.loads(value)

            wait_for("it has no vote", lambda: step()["state"] == "draining" and not row(first, "n3")["votes"])
            for _ in range(3):
                check(step()["state"] == "draining", "it cannot know")
            ready.resume()
            wait_for("it is out", lambda: step()["removed"])
        check(ready.wait() == 3, "it noticed that it was removed")


def test_weights():
    """A node is kept ready without any slots, and brought in by and by; its weight goes on to change, and it has left and comes
    back."""
    with Cluster(2) as cluster:
        cluster.start()
        first = cluster[0]
        first.run("belay-bench", "fill", "--sessions", 2000, "--prefix", "f:")
        ready = cluster.add("n3")
        ready.set("node.weight", 0)
        cluster.restart(ready)
        wait_for("it is in", lambda: cluster.states(first).get("n3") == "active")
        cluster.await_settled()
        check(owns(first, "n3") == 0, "it has slots")
        begun = first.ask("node", "activate", "n3", "--over", "4s")
        goal = row(first, "n1")["weight"]
        check(begun["weight_to"] == goal and 0 < begun["ramp_ms"] <= 4000, begun)
        check(set(begun) == manual_keys()["node weight, node activate, node degrade, node undegrade"], begun)
        check(f"n3 goes to weight {goal} in " in ready.run("belayctl", "node", "list"), "node list")
        seen = set()

        def is_there():
            found = row(ready, "n3")
            seen.add(found["weight"])
            return found["ramp_ms"] == 0 and found["weight"] == goal

        wait_for("it has its weight", is_there)
        check(len(seen) > 2, seen)
        cluster.await_settled()
        check(owns(first, "n3") > 8000, "its share")
        said = first.run("belayctl", "node", "weight", "n3", 1)
        check(said == "n3 is active, weight 1\n", said)
        cluster.await_settled()
        check(owns(first, "n3") < 1000, "it has still its share")
        first.run("belayctl", "node", "drain", "n3", "--wait")
        said = first.run("belayctl", "node", "activate", "n3", "--weight", goal, "--over", "2s")
        check(f"n3 is active, weight 0, on its way to {goal} in " in said, said)
        wait_for("it has its weight", is_there)
        goal = 300  # As it had, and not as the others.
        first.run("belayctl", "node", "weight", "n3", goal)
        for over in ((), ("--over", "2s")):
            first.run("belayctl", "node", "drain", "n3", "--wait")
            check(first.ask("node", "activate", "n3", *over)["weight_to"] == goal, over)
        wait_for("it has its weight", is_there)
        cluster.await_settled()
        for node in cluster:
            check(node.run("belay-bench", "check", "--sessions", 2000, "--prefix", "f:") ==
                  "present=2000 lost=0 wrong=0\n", "sessions")
        for words in (("weight", "n3", "x"), ("weight", "n3", -1), ("weight", "n3", 1000001), ("activate", "n3", "--weight", 0),
                      ("weight", "n3", 5, "--over", "25h")):
            failing(first, "node", *map(str, words), expect=2)
        check("there is no such node" in failing(first, "node", "weight", "n9", "5"), "unknown")
        first.run("belayctl", "node", "weight", "n2", 0)
        first.run("belayctl", "node", "weight", "n3", 0, "--over", "1h")
        check("no other node could take" in failing(first, "node", "drain", "n1"), "the last one but for one that goes to 0")
        check("no other node could take" in failing(first, "node", "weight", "n1", "0"), "the last one")


def test_restart_check():
    """A rolling restart: each node goes once all is well again, and not before; no session is away meanwhile."""
    with Cluster(3) as cluster:
        cluster.start()
        first, last = cluster[0], cluster[2]
        first.run("belay-bench", "fill", "--sessions", 2000, "--prefix", "f:")
        for node in cluster:
            asked = next(other for other in cluster if other is not node)
            check(asked.run("belayctl", "cluster", "restart-check", node.name, "--wait") ==
                  f"{node.name} may be restarted\n", node.name)
            node.stop()
            refused = json.loads(asked.run("belayctl", "--json", "cluster", "restart-check", expect=1))
            check(set(refused) | set(refused["reasons"][0]) == manual_keys()["cluster restart-check"], refused)
            check(refused["ok"] is False and
                  {"unreachable", "node_down", "link_down"} & {reason["reason"] for reason in refused["reasons"]}, refused)
            check(asked.run("belay-bench", "check", "--sessions", 2000, "--prefix", "f:") ==
                  "present=2000 lost=0 wrong=0\n", "while one is away")
            cluster.restart(node)
        check(first.ask("cluster", "restart-check", "--wait")["ok"], "at the end")
        first.run("belayctl", "node", "drain", "n3")
        check("is not to be restarted now:\n  " in first.run("belayctl", "cluster", "restart-check", expect=1), "draining")
        wait_for("it has left", lambda: cluster.states(first).get("n3") == "left")
        last.kill()
        first.run("belayctl", "cluster", "restart-check", "--wait")  # It holds nothing.
        first.run("belayctl", "node", "drain", "n2", "--wait")
        said = first.run("belayctl", "cluster", "restart-check", "n1", expect=1)
        check("16384 slots are one node's alone" in said, said)
        check(first.run("belayctl", "cluster", "restart-check", "n2") == "n2 may be restarted\n", "it has nothing")
        check("there is no such node" in failing(first, "cluster", "restart-check", "n9"), "unknown")


def test_drain_on_stop():
    """SIGTERM: it drains, stops, and is after its next start what it was before, degraded by an operator, too. A second one, or the
    end of the time, stops it at once."""
    with Cluster(3, settings=["node.drain_on_stop=60s"]) as cluster:
        cluster.start()
        first, second, stopped = cluster
        first.run("belay-bench", "fill", "--sessions", 2000, "--prefix", "f:")
        first.run("belayctl", "node", "degrade", "n3")
        stopped.stop()
        check("drain-ended cause=drained" in stopped.log(), stopped.log())
        check(cluster.states(first).get("n3") == "left" and owns(first, "n3") == 0, "it stopped before")
        check(first.run("belay-bench", "check", "--sessions", 2000, "--prefix", "f:") ==
              "present=2000 lost=0 wrong=0\n", "sessions")
        cluster.restart(stopped)
        wait_for("it is degraded again", lambda: cluster.states(first).get("n3") == "degraded")
        wait_for("that is kept account of", lambda: not (stopped.data / "DRAINED").exists())
        first.run("belayctl", "node", "undegrade", "n3")
        cluster.await_settled()
        check(owns(first, "n3") > 8000, "it has not its slots again")
        first.run("belayctl", "node", "drain", "n3", "--wait")
        stopped.stop()  # As an operator said: it stays so.
        cluster.restart(stopped)
        wait_for("it is known", lambda: cluster.states(stopped).get("n3") == "left" and row(first, "n3")["link"] == "up")
        first.run("belayctl", "node", "activate", "n3")
        cluster.await_settled()
        first.pause()
        stopped.pause()  # Nothing can be decided.
        second.send(signal.SIGTERM)
        wait_for("it drains", lambda: "drain-begun" in second.log())
        second.send(signal.SIGTERM)
        check(second.wait() == 0 and "drain-ended" not in second.log(), second.log())
        stopped.resume()
        first.resume()
        second.set("node.drain_on_stop", "1s")
        cluster.restart(second)
        cluster.await_settled()
        first.pause()
        stopped.pause()
        second.send(signal.SIGTERM)
        check(second.wait() == 0 and "node.drain_on_stop is over" in second.log(), second.log())
        stopped.resume()
        first.resume()


def test_stopping():
    """SIGTERM where the drain is taken back, where nobody decides it for a while, and where what tells the next start of it cannot be
    removed: that one stays drained whom an operator drains after that."""
    with Cluster(4, settings=["cluster.down_after=60s", "node.drain_on_stop=60s"]) as cluster:
        cluster.start()
        stuck = next(node for node in cluster if node not in cluster.voters())
        first, stopped = [node for node in cluster if node is not stuck][:2]
        name, mark = stopped.name, stopped.data / "DRAINED"
        stuck.pause()  # What it is to take cannot move meanwhile; the others are a majority.
        stopped.send(signal.SIGTERM)
        wait_for("it is draining", lambda: cluster.states(first).get(name) == "draining")
        first.run("belayctl", "node", "drain", name, "--cancel")
        check(stopped.wait() == 0 and "it was taken back" in stopped.log(), stopped.log())
        stuck.resume()
        cluster.restart(stopped)
        cluster.await_settled()
        wait_for("it has come back for good", lambda: not mark.exists())
        others = [node for node in cluster if node is not stopped]
        for node in others:
            node.pause()
        stopped.send(signal.SIGTERM)
        wait_for("nobody could decide", lambda: "drain-waits" in stopped.log())
        for node in others:
            node.resume()
        check(stopped.wait() == 0 and "drain-ended cause=drained" in stopped.log(), stopped.log())
        mark.unlink()
        mark.mkdir()
        (mark / "kept").touch()
        cluster.restart(stopped)
        wait_for("it has come back", lambda: "drained-kept" in stopped.log() and cluster.states(first)[name] == "active")
        first.run("belayctl", "node", "drain", name, "--wait")
        shutil.rmtree(mark)
        mark.touch()
        wait_for("it has come back for good", lambda: not mark.exists())
        stopped.stop()
        cluster.restart(stopped)
        wait_for("it is known", lambda: cluster.states(stopped).get(name) == "left" and row(first, name)["link"] == "up")


def test_heal_rate():
    """What a node that enters lacks comes no faster than `cluster.heal_rate`, of all shards together."""
    count, size, rate = 1500, 1024, 512 * 1024
    with Cluster(1, settings=[f"cluster.heal_rate={rate // 1024}KiB"]) as cluster:
        cluster.start()
        cluster[0].run("belay-bench", "fill", "--server", cluster[0].native, "--sessions", count, "--value-bytes", size)
        begun = time.monotonic()
        node = cluster.add("n2")
        cluster.restart(node)

        def sessions():
            nonlocal begun
            asked, found = time.monotonic(), node.ask("status")["sessions"]
            begun = asked if found == 0 else begun
            return found

        wait_for("the other node has all", lambda: sessions() == count, 30 * SLOWNESS)
        took = time.monotonic() - begun
    check(count * size <= rate * (took + 0.1), f"{count} sessions of {size} bytes came within {took} s")


def test_first_with_nothing():
    with Daemon(settings=["node.weight=0"]) as daemon:
        daemon.launch()
        check(daemon.wait() == 1 and "which is for a node that joins" in daemon.log(), daemon.log())


if __name__ == "__main__":
    run_cases(__name__)
