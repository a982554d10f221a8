"""Several real nodes that are one cluster: forming, joining, leaving, and what goes on when some of them are gone."""

import json
import re
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from cases import long, run_cases
from cluster import Cluster
from daemon import SLOWNESS, Daemon, Failed, check, program, wait_for
from load import Load, audit, written as written_bytes
from redis_kit import Client, port_of


def put(node, key, value, *more):
    node.run("belayctl", "session", "put", key, f"v={value}", *more)


def get(node, key):
    """The value, or None where that cannot be read now."""
    document = node.ask_or_none("session", "get", key)
    return document and next((field["value"] for field in document["fields"] if field["name"] == "v"), None)


def written(cluster, prefix, count=12):
    """Sessions written through all of the nodes in turn: key to value."""
    values = {f"{prefix}:{number}": str(number) for number in range(count)}
    running = cluster.running()
    for number, (key, value) in enumerate(values.items()):
        put(running[number % len(running)], key, value)
    return values


def await_read(nodes, values):
    """All of them are read through each of the nodes."""
    for node in nodes:
        for key, value in values.items():
            wait_for(f"{key} at {node.name}", lambda node=node, key=key, value=value: get(node, key) == value)


def await_list(node, what, condition):
    """Until what `node list` tells is so. Returns it."""
    rows = []

    def is_so():
        document = node.ask_or_none("node", "list")
        rows[:] = document["nodes"] if document else []
        return condition(rows)
    try:
        wait_for(what, is_so)
    except Failed as failure:
        raise Failed(f"{failure}: {rows}") from None
    return rows


@long
def test_three_nodes():
    """They form, read what any of them wrote, outlive one of them, and take it back; and all at once come back."""
    with Cluster(3) as cluster:
        cluster.start()
        listed = await_list(cluster[2], "all links are up",  # Two join at once, in either order.
                            lambda rows: sorted((row["name"], row["link"]) for row in rows) ==
                            [("n1", "up"), ("n2", "up"), ("n3", "self")])
        check([node["number"] for node in listed] == [1, 2, 3], listed)
        check(sum(node["slots_primary"] for node in listed) == 16384, listed)
        values = written(cluster, "first")
        await_read(cluster, values)
        where = cluster[0].ask("session", "where", "first:1")
        check(len(where["owners"]) == 2, where)

        lost = cluster[1]
        lost.kill()
        await_read(cluster.running(), values)
        values |= written(cluster, "without")
        await_read(cluster.running(), values)
        wait_for("the map says that it is down",
                 lambda: cluster.states(cluster[0]).get("n2") == "down")
        lost.start()
        cluster.await_settled()
        await_read([lost], values)

        for node in cluster:
            node.kill()
        cluster.start()
        await_read(cluster, values)


@long
def test_join_and_remove():
    """A fourth node takes its part of the slots; removed, it gives them back; a dead one is taken out."""
    with Cluster(3) as cluster:
        cluster.start()
        values = written(cluster, "s")
        fourth = cluster.add("n4")
        fourth.settings.append("node.zone=elsewhere")
        fourth.token = cluster[2].run("belayctl", "join-token").strip()
        fourth.launch()
        fourth.await_ready()
        cluster.await_settled()
        listed = await_list(cluster[0], "all have slots", lambda rows: len(rows) == 4 and
                            all(row["slots_primary"] + row["slots_copy"] > 0 for row in rows))
        check([node["zone"] for node in listed] == ["", "", "", "elsewhere"], listed)
        await_read([fourth], values)

        number = next(node["number"] for node in listed if node["name"] == "n2")
        removed = cluster[0].ask("node", "remove", "n2")
        check(removed["removed"] is True and removed["number"] == number, removed)
        gone = cluster.nodes.pop(1)
        gone.stop()
        cluster.await_settled()
        await_read(cluster, values)

        fourth.kill()
        wait_for("the map says that it is down",
                 lambda: cluster.states(cluster[0]).get("n4") == "down")
        cluster.await_settled()
        cluster[0].run("belayctl", "node", "remove", "4")
        await_list(cluster[0], "it is no member", lambda rows: [row["name"] for row in rows] == ["n1", "n3"])
        gone.close()


def joins(node, token, expect):
    """Try to join; returns what was said on stderr."""
    done = subprocess.run([*Daemon.command(node), "--join", token], capture_output=True, text=True,
                          timeout=60 * SLOWNESS, check=False)
    check(done.returncode == expect, f"exit {done.returncode}\n{done.stderr}")
    return done.stderr


def test_tokens():
    """Who may not come in is told why, and nothing is made; a file and the environment do as well."""
    with Cluster(2) as cluster:
        cluster.start()
        token = cluster.token()
        with Daemon() as stranger:
            check("cut or mistyped" in joins(stranger, token[:-3], 2), "cut")
            check("no join token" in joins(stranger, "xyz", 2), "none")
            named = stranger.directory / "token"
            named.write_text(token)
            check("@FILE reads it" in joins(stranger, str(named), 2), "the @ is forgotten")
            check("No such file" in joins(stranger, f"@{stranger.directory}/none", 2), "no file")
            check(not stranger.data.exists(), "made")
            stranger.start()
            stranger.stop()
            check("another cluster" in joins(stranger, token, 1), "of its own")
            stranger.start() # Nothing was changed.
        with Daemon(settings=["node.name=n1"]) as twin:
            said = joins(twin, token, 1)
            check("there is a node of that name" in said, said)
            check(not (twin.data / "META").exists(), "made")
        with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
            file = Path(directory) / "token"
            file.write_text(token + "\n")
            third = cluster.add("n3")
            third.token = f"@{file}"
            third.launch()
            third.await_ready()
            cluster.await_settled()
            third.kill()
            command = third.command
            third.command = lambda: [*command(), "--join", f"@{file}"] # It is in already.
            third.start()
            third.command = command
            cluster.await_settled()
        fourth = cluster.add("n4")
        fourth.wrapper = ["env", f"BELAY_JOIN_TOKEN={token}"]
        fourth.launch()
        fourth.await_ready()
        cluster.await_settled()
        for node in cluster:
            node.kill()
        with Daemon() as late:
            said = joins(late, token, 1)
            check("cannot join" in said, said)


def test_start_that_fails():
    """A port that another program has is found before the cluster is asked, so that no member is left that never ran."""
    with Cluster(1) as cluster:
        cluster.start()
        token = cluster.token()
        for key in ("listen.port", "listen.cluster_port", "listen.peer_port", "listen.http_port"):
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                with Daemon(settings=["node.name=late", f"{key}={port}"]) as late:
                    said = joins(late, token, 1)
                    check(f"cannot listen on 127.0.0.1 port {port}" in said and "in use" in said, said)
                    check(not late.data.exists(), "made")
        check(set(cluster.states(cluster[0])) == {"n1"}, cluster.states(cluster[0]))


def test_name_is_kept():
    """A node that starts again with another node.name says that it goes on under the one that the cluster knows."""
    with Cluster(2) as cluster:
        cluster.start()
        node = cluster[1]
        node.stop()
        node.settings.append("node.name=other")
        node.start()
        check(node.ready["name"] == "n2", node.ready)
        check("node-name-kept" in node.log() and "configured=other" in node.log(), node.log())
        check(node.ask("status")["node"] == "n2", node.ask("status"))
        check(set(cluster.states(cluster[0])) == {"n1", "n2"}, cluster.states(cluster[0]))


def test_policies():
    """They are the cluster's: changed at one node they hold on all; the sections of a later node count for nothing."""
    with Cluster(3) as cluster:
        cluster[0].settings.append('policy "web:".idle_ttl=30m')
        cluster[1].settings.append('policy "web:".idle_ttl=5m')
        cluster.start()

        def agreed(prefix, key, value):
            told = [node.ask_or_none("policy", "list") for node in cluster]
            return all(each and (each["policies"].get(prefix) or {}).get(key) == value for each in told)

        wait_for("the first one's policies", lambda: agreed("web:", "idle_ttl", "30m"))
        cluster[2].run("belayctl", "policy", "set", "shop:", "idle_ttl=2h")
        wait_for("a change", lambda: agreed("shop:", "idle_ttl", "2h"))
        put(cluster[1], "shop:1", "x")
        check(cluster[0].ask("session", "get", "shop:1")["idle_ms"] == 7200000, "holds")
        cluster[1].kill()
        cluster[1].start()
        wait_for("after a restart", lambda: agreed("web:", "idle_ttl", "30m"))


def test_inspect():
    """Whoever is asked, each owner's copy is shown, and in what they differ; one that does not answer is named."""
    with Cluster(3) as cluster:
        cluster.start()
        put(cluster[0], "k", "1", "n=1", "--type", "map")
        primary, copy = (node["name"] for node in cluster[0].ask("session", "where", "k")["owners"])
        writes = threading.Event()

        def write():
            with Client(port_of(cluster[0])) as client:
                while not writes.is_set():
                    client.ask("HINCRBY", "k", "n", 1)

        def differences(node):
            shown = node.ask("session", "inspect", "k")
            check([(row["node"], row["rank"], row["state"]) for row in shown["copies"]] ==
                  [(primary, 0, "there"), (copy, 1, "there")], shown)
            check(shown["copies"][0]["differences"] == [], shown)
            return shown["copies"][1]["differences"]

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for node in cluster:
                wait_for("they differ while it is written", lambda node=node: differences(node) == ["version", "field n"])
        finally:
            writes.set()
            writer.join()
        for node in cluster:
            wait_for("they are the same", lambda node=node: node.ask("session", "inspect", "k")["differs"] is False)
        shown = json.loads(cluster[0].run("belayctl", "session", "inspect", "k"))  # Nothing else is printed.
        check([row["node"] for row in shown["copies"]] == [primary, copy] and shown["differs"] is False, shown)
        lost = next(node for node in cluster if node.name == copy)
        asked = next(node for node in cluster if node.name != copy)
        lost.kill()
        shown = asked.ask("session", "inspect", "k")
        check(shown["copies"][-1]["state"] in ("CANNOT_CONNECT", "there"), shown)  # It may have another owner by now.
        text = (Path(__file__).resolve().parents[2] / "tools/man/belayctl.1.scd").read_text()
        for key in [*shown, *shown["copies"][0]]:
            check(f"*{key}*" in text, f"{key} is not in the manual")


def test_replicas():
    """Of a cluster that runs there are more copies, and fewer again, while it is written to; each is one."""
    with Cluster(3, settings=["cluster.replicas=1"]) as cluster:
        cluster[1].set("cluster.replicas", 3)
        cluster.start()
        first, second, last = cluster
        check("replicas-differ cluster=1 configured=3" in second.log() and "replicas-differ" not in first.log(), second.log())
        first.run("belay-bench", "fill", "--sessions", 3000, "--prefix", "f:")
        put(first, "one", "1")
        with tempfile.TemporaryDirectory() as directory:
            record = Path(directory) / "record"
            load = Load(first, record, "--rate", 300, "--timeout-ms", int(5000 * SLOWNESS))
            try:
                wait_for("it writes", lambda: written_bytes(record))
                for copies in (3, 1, 2):
                    said = second.run("belayctl", "cluster", "replicas", copies)
                    check(said.startswith(f"each session is to have {copies} cop"), said)
                    if copies > 1:
                        check(first.run("belayctl", "cluster", "restart-check", "--wait") == "a node may be restarted\n", copies)
                    cluster.await_settled()
                    shown = [node.ask("session", "inspect", "one")["created_ms"] for node in cluster]
                    check(len(set(shown)) == 1, shown)  # Whoever is asked, also where there is but one copy.
                    listed = first.ask("node", "list")
                    check(listed["replicas"] == copies and
                          sum(row["slots_primary"] + row["slots_copy"] for row in listed["nodes"]) == copies * 16384, listed)
                stats, said = load.end()
            finally:
                load.kill()
            check(not stats["errors"], (stats, said))
            last.kill()
            wait_for("it is down", lambda: cluster.states(first).get("n3") == "down")
            for node in (first, second):
                check(audit(node, record) > 100, "what it wrote")
                check(node.run("belay-bench", "check", "--sessions", 3000, "--prefix", "f:") == "present=3000 lost=0 wrong=0\n", "f")
        first.run("belayctl", "cluster", "replicas", 2)  # As it is.
        for wrong in (0, 6, "x"):
            first.run("belayctl", "cluster", "replicas", wrong, expect=2)


def test_no_replica():
    """Where a policy says `refuse`, a write that asks for a replica is not taken by a node that is left alone."""
    with Cluster(2) as cluster:
        cluster[0].settings.append('policy "sure:".on_no_replica=refuse')
        cluster.start()
        left = cluster[0]
        values = {f"sure:{number}": str(number) for number in range(12)}
        for key, value in values.items(): # Its threads may hear of the other owner a little later.
            wait_for(f"{key} has a copy",
                     lambda key=key, value=value: left.ask_or_none("session", "put", key, f"v={value}"))
        cluster[1].kill()

        def refused(*words):
            done = subprocess.run([program("belayctl"), "-s", left.native, *words], capture_output=True, text=True,
                                  timeout=60 * SLOWNESS, check=False)
            return done.returncode == 1 and "on_no_replica" in done.stderr

        wait_for("writes are refused", lambda: all(refused("session", "put", key, f"v={value}") for key, value in values.items()))
        check(refused("session", "put", "sure:new", "v=1"), "a new session")
        check(refused("session", "del", "sure:1"), "an end")
        await_read([left], values)
        check(get(left, "sure:new") is None, "it was not begun")
        put(left, "other:1", "degraded")
        check(get(left, "other:1") == "degraded", "another policy")
        put(left, "sure:2", "at disk", "--ack", "disk")
        cluster[1].start()
        cluster.await_settled()
        wait_for("a write is taken again", lambda: left.ask_or_none("session", "put", "sure:0", "v=again"))
        await_read(cluster, values | {"sure:0": "again", "sure:2": "at disk"})


def test_token_of_loopback():
    """A token that leads to 127.0.0.1 is of use on this machine only: whoever copies it elsewhere is told before."""

    def said(node):
        done = subprocess.run([program("belayctl"), "-s", node.native, "join-token"], capture_output=True, text=True,
                              timeout=120, check=True)
        check(done.stdout.startswith("belay-join-1.") and done.stdout.count("\n") == 1, done.stdout)
        return done.stderr, node.ask("join-token")["local"]

    with Cluster(1) as cluster:
        node = cluster.start()[0]
        text, local = said(node)
        check("only this machine can use it" in text and local is True, text)
        node.stop()
        for announced, local in (("localhost", True), ("::1", True), ("node1.example", False)):
            node.set("listen.announce", announced)
            node.start()
            # What it announces is in the map a little after it serves.
            wait_for(f"{announced} is {'not ' if not local else ''}of loopback",
                     lambda local=local: ("only this machine" in (answer := said(node))[0], answer[1]) == (local, local))
            node.stop()


def test_remove_says_why():
    """What cannot come right by waiting is said at once, also where it turns up in the middle."""
    with Cluster(2, settings=["cluster.replicas=1"]) as cluster:
        cluster.start()
        asked, other = cluster.nodes

        def remove():
            done = subprocess.run([program("belayctl"), "-s", asked.native, "--json", "--timeout", "60s", "node", "remove", "n2"],
                                  capture_output=True, text=True, timeout=300, check=False)
            check(done.returncode == 1, done.stdout + done.stderr)
            return json.loads(done.stdout)["error"]

        asked.run("belay-bench", "fill", "--sessions", 2000, "--prefix", "f:")
        other.pause() # It is to give its sessions to others, and does not.
        error = remove()
        check(error["status"] == "UNSUPPORTED" and "nobody else has" in error["text"], error)
        error = remove()
        check(error["status"] == "UNSUPPORTED" and "nobody else has" in error["text"], error)
        sessions = int(re.search(r"with about (\d+) sessions", error["text"])[1])
        check(800 < sessions < 1200, error) # It has half of them, by hash.
        other.kill()
        said = asked.run("belayctl", "node", "remove", "n2", "--force")
        check(said == f"removed n2\nabout {sessions:,} sessions that nobody else had are given up\n", said)


def test_nobody_left():
    """All owners of a session are away: a client hears so, and does not try until its deadline."""
    with Cluster(3) as cluster:
        cluster.start()
        key = next(key for key in (f"k{number}" for number in range(1000))
                   if cluster[2] not in cluster.owners(key.encode()))
        put(cluster[0], key, "value")
        for node in cluster.nodes[:2]:
            node.kill()
        for words in (("get", key), ("put", key, "other")):
            done = subprocess.run([program("belayctl"), "-s", cluster[2].native, "--json", "--timeout", "11s", "session", *words],
                                  capture_output=True, text=True, timeout=120, check=False)
            check(json.loads(done.stdout)["error"]["status"] == "UNAVAILABLE", done.stdout)
        cluster.restart(cluster[0])
        cluster.restart(cluster[1])
        cluster.await_settled()
        await_read(cluster, {key: get(cluster[0], key)})


@long
def test_manual():
    """Keys of documents that one node alone does not have."""
    text = (Path(__file__).resolve().parents[2] / "tools/man/belayctl.1.scd").read_text()
    with Cluster(2) as cluster:
        cluster.start()
        documents = [cluster[0].ask("join-token"), cluster[0].ask("node", "remove", "n2")]
        for document in documents:
            for key in document:
                check(f"*{key}*" in text, f"{key} is not in the manual")


if __name__ == "__main__":
    run_cases(__name__)
