"""Slots whose only owner is lost with its disk: the cluster gives it up, and who owns them then serves them from the archive:
what is asked for first, and of what has not come back nobody says that it is not there."""

import binascii
import shutil
import subprocess
import time
from contextlib import contextmanager

from cases import run_cases
from cluster import Cluster
from daemon import BUILD, check, program, wait_for
from redis_kit import Client, Error, port_of

QUICK = ["cluster.heartbeat=100ms", "cluster.down_after=500ms", "cluster.cooldown=500ms", "archive.flush=300ms"]
MAKER = str(BUILD / "tests/integration/archive_maker")
HELD = "archive.restore_rate"  # Bytes per second in the background: of one nothing comes in the time of a test.


def status_of(node):
    return node.ask("archive", "status")["archive"]


def is_archived(node):
    status = status_of(node)
    return status["state"] == "off" or (status["unarchived_bytes"] == 0 and status["rpo_ms"] == 0)


def begun(restore):
    """It knows what it is to read, or what it has read."""
    return restore["bytes"] > 0 or restore["sessions"] > 0


def slots_to_come(cluster):
    return sum(status_of(node).get("restore", {"slots": 0})["slots"] for node in cluster.running())


def owned_by(cluster, keys, name):
    runs = cluster[0].ask("ring")["runs"]

    def owner(key):
        slot = binascii.crc_hqx(key.encode(), 0) % 16384
        return next(run["owners"][0] for run in runs if run["first"] <= slot <= run["last"])

    return [key for key in keys if owner(key) == name]


@contextmanager
def archiving(count, rate, replicas=1, without=()):
    """All nodes have the archive, but those of these numbers."""
    with Cluster(count, settings=[*QUICK, f"cluster.replicas={replicas}"]) as cluster:
        path = cluster.directory / "archive"
        path.mkdir()
        for node in cluster:
            way = node.directory / "way"
            way.symlink_to(path)
            if cluster.nodes.index(node) not in without:
                node.settings += [f"archive.url=file://{way}", f"{HELD}={rate}"]
        yield cluster.start(), path


def value(key):
    return f"value of {key} ".encode() * 10


def write(cluster, count):
    """Sessions with a field that stays and one that was removed, and some that have ended. Returns the keys of both."""
    lives, ended = [f"live:{number}" for number in range(count)], [f"ended:{number}" for number in range(count // 4)]
    with Client(port_of(cluster[0])) as client:
        for key in lives + ended:
            check(client.ask("HSET", key, "stays", value(key), "goes", "x") == 2, key)
        for key in lives:
            check(client.ask("HDEL", key, "goes") == 1, key)
        for key in ended:
            check(client.ask("DEL", key) == 1, key)
    wait_for("all is archived", lambda: all(is_archived(node) for node in cluster))
    return lives, ended


def tried(node, *words):
    return subprocess.run([program("belayctl"), "-s", node.native, *words], check=False, capture_output=True, text=True)


def has_its_own_alone(node):
    """Nothing is left of slots that others have by now: what a node that is lost had would still be there."""
    part = node.ask("status")["cluster"]
    return part["looked"] and part["slots_stray"] == 0


def lose(cluster, node):
    """Its disk, too; the others give it up."""
    node.kill()
    node.wipe()
    return give_up(cluster, node)


def give_up(cluster, node):
    wait_for("it is down", lambda: cluster.states(cluster[0]).get(node.name) == "down")
    refused = tried(cluster[0], "node", "remove", node.name)
    check(refused.returncode == 1 and "what the archive has of them is restored" in refused.stderr, refused)
    told = cluster[0].ask("node", "remove", node.name, "--force")
    check(told["removed"] and told["lost"] > 0, told)
    return told["lost"]


def ask(client, *words):
    """An answer that is none of "not yet"."""
    while True:
        answer = client.ask(*words)
        if not isinstance(answer, Error):
            return answer
        check(b"restored" in answer or b"reached" in answer, answer)
        time.sleep(0.05)


def check_all(node, lives, ended):
    with Client(port_of(node)) as client:
        for key in lives:
            got = ask(client, "HGET", key, "stays")
            check(got == value(key), f"{key}: {got}")
            check(ask(client, "HGETALL", key) == [b"stays", value(key)], f"{key}: a field that was removed came back")
        for key in ended:
            check(ask(client, "EXISTS", key) == 0, f"{key} came back")


def test_asked_first():
    """While nothing comes in the background, whatever is asked for comes; one that brings it back is killed, and the rest comes
    when it is there again."""
    with archiving(3, "1") as (cluster, _):
        lives, ended = write(cluster, 200)
        lost = cluster[2]
        its = owned_by(cluster, lives, lost.name)
        check(len(its) > 20, its)
        slots = lose(cluster, lost)
        with Client(port_of(cluster[0])) as client:
            begun = time.monotonic()
            check(ask(client, "HGET", its[0], "stays") == value(its[0]), its[0])
            print(f"the first after {1000 * (time.monotonic() - begun):.0f} ms")
            check(ask(client, "HSETNX", its[1], "stays", "another") == 0, "it was begun anew")
            check(ask(client, "DEL", its[2]) == 1, its[2])
        lives.remove(its[2])
        ended.append(its[2])
        wait_for("the background is held", lambda: slots_to_come(cluster) > slots * 0.9, 5)  # A node may not tell just now.
        check_all(cluster[1], lives, ended)
        wait_for("the background is held", lambda: slots_to_come(cluster) > slots * 0.8, 5)  # A node may not tell just now.
        cluster[1].kill()
        for node in cluster.running():
            node.set(HELD, "0")
        cluster[1].set(HELD, "0")
        cluster.restart(cluster[1])
        check_all(cluster[1], lives, ended)
        cluster[0].stop()
        cluster.restart(cluster[0])
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        wait_for("the map says so", lambda: cluster[0].ask("archive", "status")["archive"]["restore"]["slots"] == 0)
        check_all(cluster[0], lives, ended)
        with Client(port_of(cluster[0])) as client:
            wait_for("each is there once", lambda: ask(client, "DBSIZE") == len(lives))


def test_alone():
    """One of two is lost, and the other one is left alone."""
    with archiving(2, "1") as (cluster, _):
        lives, ended = write(cluster, 100)
        lose(cluster, cluster[1])
        check_all(cluster[0], lives[:10], ended[:10])
        cluster[0].kill()
        cluster[0].set(HELD, "0")
        cluster.restart(cluster[0])
        check_all(cluster[0], lives, ended)
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        check_all(cluster[0], lives, ended)


def test_two_owners():
    """Both owners of slots are lost. Who owns them then have all of them, each: what one brought back is copied as it came."""
    with archiving(4, "0", replicas=2) as (cluster, _):
        lives, ended = write(cluster, 200)
        wait_for("three decide", lambda: len(cluster.voters()) == 3)
        first, second, _ = cluster.voters()  # They stay, and are the majority.
        lost = [node for node in cluster if node not in (first, second)]
        for node in lost:
            node.kill()
            node.wipe()
        names = {node.name for node in lost}
        wait_for("they are down", lambda: {state for name, state in cluster.states(first).items() if name in names} == {"down"})
        removed = [first.ask("node", "remove", name, "--force") for name in names]
        check(all(each["removed"] for each in removed) and removed[-1]["lost"] > 0, removed)
        check_all(second, lives, ended)
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        wait_for("both have all", lambda: all(row["slots_coming"] == 0 and row["slots_primary"] + row["slots_copy"] == 16384
                                              for row in first.ask("node", "list")["nodes"]))
        wait_for("nothing is on its way", lambda: all(row["records_behind"] == 0
                                                      for row in first.ask("node", "list")["nodes"]))
        first.kill()
        check_all(second, lives, ended)


def test_majority():
    """Two of three are lost, who decide with it: what is left founds the cluster anew, and serves all."""
    with archiving(3, "0") as (cluster, _):
        lives, ended = write(cluster, 100)
        for node in (cluster[1], cluster[2]):
            node.kill()
            node.wipe()
        last = cluster[0]
        last.stop()
        command = last.command
        last.command = lambda: [*command(), "--force-new-cluster", "n2,n3"]
        last.start()
        check_all(last, lives, ended)
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        check_all(last, lives, ended)


def test_archive_away():
    """Without the archive, or with an empty directory in its place, nobody says that a session is not there; with it again all
    is."""
    with archiving(3, "0") as (cluster, path):
        lives, ended = write(cluster, 100)
        its = owned_by(cluster, lives, cluster[2].name)
        aside = path.rename(path.with_name("aside"))
        lose(cluster, cluster[2])

        def refuses(cause):
            wait_for(cause, lambda: any(cause in status_of(node)["restore"]["cause"] for node in cluster.running()))
            with Client(port_of(cluster[0])) as client:
                for words in (("HGET", its[0], "stays"), ("HSETNX", its[0], "stays", "x"), ("EXISTS", its[0])):
                    answer = client.ask(*words)
                    check(isinstance(answer, Error) and b"restored from the archive" in answer, f"{words}: {answer}")

        refuses("No such file")
        path.mkdir()
        refuses("what this cluster archived first is not there")
        shutil.rmtree(path)
        aside.rename(path)
        check_all(cluster[1], lives, ended)
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)


def test_own_backlog():
    """What a node wrote of a slot before another one owned it, and could not archive yet, is in its log alone once that one is
    lost: the archive is not listed before it is there."""
    with archiving(2, "0") as (cluster, path):
        node, lost = cluster
        lives, _ = write(cluster, 60)
        its = owned_by(cluster, lives, node.name)
        check(len(its) > 10, its)
        for one in cluster:
            (one.directory / "way").unlink()
            (one.directory / "way").write_text("in its place")
        with Client(port_of(node)) as client:
            for key in its:
                check(client.ask("HSET", key, "late", value(key)) == 1, key)
        weight = next(row["weight"] for row in node.ask("node", "list")["nodes"] if row["name"] == node.name)
        node.run("belayctl", "node", "weight", node.name, "0")
        wait_for("it has nothing of it any more", lambda: node.ask("status")["sessions"] == 0, timeout_s=60)
        lost.kill()
        lost.wipe()
        wait_for("it is down", lambda: cluster.states(node).get(lost.name) == "down")
        node.run("belayctl", "node", "weight", node.name, str(weight))
        give_up(cluster, lost)
        (node.directory / "way").unlink()
        (node.directory / "way").symlink_to(path)
        with Client(port_of(node)) as client:
            for key in its:
                check(ask(client, "HGET", key, "late") == value(key), key)


def cat(path, names):
    """What `belayctl archive cat` says of the objects of such names."""
    return "".join(subprocess.run([program("belayctl"), "archive", "cat", str(one)], check=True, capture_output=True, text=True).stdout
                   for one in path.glob(names))


def test_what_does_not_come():
    """Where a change lacks what it builds on, nothing of its slot is taken for ended: a checkpoint of who has it then does not say
    so, and the archive keeps what it has. What is past its deadline comes all the same."""
    with archiving(2, "0") as (cluster, path):
        node, lost = cluster
        kept, short = owned_by(cluster, [f"k{number}" for number in range(100)], lost.name)[:2]
        with Client(port_of(lost)) as client:
            check(client.ask("SET", kept, "x") == b"OK", kept)
            deadline = time.time() + 3
            check(client.ask("SET", short, "x", "PXAT", int(deadline * 1000)) == b"OK", short)
        wait_for("all is archived", lambda: all(is_archived(one) for one in cluster))
        subprocess.run([MAKER, str(path), "baseless", f"{{{kept}}}", next(path.iterdir()).name], check=True)
        lost.kill()
        lost.wipe()
        wait_for("its time has passed", lambda: time.time() > deadline)
        give_up(cluster, lost)
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        restore = status_of(node)["restore"]
        check(restore["left"] == 1 and restore["expired"] == 1, restore)
        wait_for("it is logged here", lambda: f'key="{short}"' in cat(path, "*/log/00000001*/*"))
        check(node.stop() == 0, "stops")
        for mark in node.data.rglob("archived"):
            mark.unlink()
        node.set("node.shards", "3")  # All lies in checkpoints by then, so that there is one in the archive.
        cluster.restart(node)
        wait_for("it is made", lambda: status_of(node)["checkpoints"] == 1)
        node.run("belayctl", "archive", "forget", f"file://{path}", "--older-than", "1ms")
        check(f'key="{kept}"' in cat(path, "*/log/00000002*/*"), "it is gone")


def test_one_that_must_wait():
    """A slot with a session of a time that has not come yet waits, and no other with it, and that is said once."""
    with archiving(2, "0") as (cluster, path):
        node, lost = cluster
        keys = [f"k{number}" for number in range(44)]
        with Client(port_of(lost)) as client:
            for key in keys:  # So much that it does not come at once.
                check(client.ask("SET", key, bytes(1_000_000)) == b"OK", key)
        wait_for("all is archived", lambda: all(is_archived(one) for one in cluster), 60)
        first = min(owned_by(cluster, [f"ahead{number}" for number in range(400)], lost.name),
                    key=lambda key: binascii.crc_hqx(key.encode(), 0) % 16384)
        its = owned_by(cluster, keys, lost.name)
        subprocess.run([MAKER, str(path), "ahead", first, next(path.iterdir()).name], check=True)
        lose(cluster, lost)
        wait_for("all others have come", lambda: slots_to_come(cluster) == 1, 60)
        with Client(port_of(node)) as client:
            for key in its:
                check(client.ask("STRLEN", key) == 1_000_000, key)
            answer = client.ask("GET", first)  # Tried by who does what is asked for, too.
            check(isinstance(answer, Error) and b"restored" in answer, answer)
        check("has not come yet" in status_of(node)["restore"]["cause"], status_of(node))
        check(node.log().count("archive-restore-ahead") == 1, "it is said once")
        check("archive-restore-waits" not in node.log(), "nothing is wrong with the archive")


def test_damage():
    """An object that cannot be read is named, and all that others have is there."""
    with archiving(3, "0") as (cluster, path):
        lives, ended = write(cluster, 100)
        its = owned_by(cluster, lives, cluster[2].name)
        number = next(row["number"] for row in cluster[0].ask("node", "list")["nodes"] if row["name"] == cluster[2].name)
        with Client(port_of(cluster[0])) as client:
            late = [f"late:{index}" for index in range(60)]
            for key in late:
                client.ask("SET", key, "x")
        wait_for("all is archived", lambda: all(is_archived(node) for node in cluster))
        last = sorted(path.glob(f"*/log/{number:08x}*/*"))[-1]
        last.write_bytes(b"x" * last.stat().st_size)
        lose(cluster, cluster[2])
        check_all(cluster[0], its, [])
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        check(any(last.name in node.log() for node in cluster.running()), "it is not named")
        check(sum(status_of(node)["restore"]["damaged"] for node in cluster.running()) > 0, "it is not counted")


def test_damage_asked():
    """The same where nothing but what is asked for is read, and a block of the object is damaged, not its index."""
    with archiving(3, "1") as (cluster, path):
        lives, _ = write(cluster, 100)
        lost = cluster[2]
        number = next(row["number"] for row in cluster[0].ask("node", "list")["nodes"] if row["name"] == lost.name)
        late = [f"late:{index}" for index in range(60)]
        with Client(port_of(cluster[0])) as client:
            for key in late:
                client.ask("SET", key, "x")
        wait_for("all is archived", lambda: all(is_archived(node) for node in cluster))
        late = owned_by(cluster, late, lost.name)
        damaged = sorted(path.glob(f"*/log/{number:08x}*/*"))[-1]
        content = bytearray(damaged.read_bytes())
        content[128 + 8] ^= 0xff  # Behind the header.
        damaged.write_bytes(content)
        its = owned_by(cluster, lives, lost.name)
        lose(cluster, lost)
        with Client(port_of(cluster[0])) as client:
            for key in late:
                ask(client, "GET", key)
        check(sum(status_of(node)["restore"]["damaged"] for node in cluster.running()) > 0, "it is not counted")
        lines = [line for node in cluster.running() for line in node.log().splitlines() if "archive-restore-damaged" in line]
        check(lines and all(damaged.name in line for line in lines), lines)
        for node in cluster.running():
            told = [line for line in node.log().splitlines() if "archive-restore-damaged" in line]
            check(len(told) == status_of(node)["restore"]["damaged"], "each is told and counted once")
            check(len(told) == len({line.split(" ", 1)[1] for line in told}), "each is told once")
        check_all(cluster[0], its[:10], [])


def test_lost_later():
    """Slots that are lost while others come back, slowly, have what was archived since those were looked for."""
    with archiving(4, "300") as (cluster, _):
        lives, ended = write(cluster, 100)
        lose(cluster, cluster[3])
        wait_for("both have listed the archive", lambda: all(begun(status_of(node)["restore"]) for node in cluster[:2]))
        late = owned_by(cluster, [f"late:{index}" for index in range(100)], cluster[2].name)
        with Client(port_of(cluster[2])) as client:
            taken = [key for key in late if client.ask("HSET", key, "stays", value(key)) == 1]  # Others are still to come back.
        check(len(taken) > 5, taken)
        wait_for("all is archived", lambda: is_archived(cluster[2]))
        lose(cluster, cluster[2])
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        check_all(cluster[0], lives + taken, ended)


def test_given_up():
    """An archive that is gone for good: its slots are given up by an admin who says so, and served without."""
    with archiving(3, "0") as (cluster, path):
        lives, ended = write(cluster, 100)
        wait_for("each node has its own alone", lambda: all(has_its_own_alone(node) for node in cluster))
        its = owned_by(cluster, lives, cluster[2].name)
        others = [key for key in lives if key not in its]
        check(tried(cluster[0], "archive", "give-up").returncode == 1, "nothing is lost yet")
        aside = path.rename(path.with_name("aside"))
        slots = lose(cluster, cluster[2])
        wait_for("they wait", lambda: any("No such file" in status_of(node)["restore"]["cause"] for node in cluster.running()))
        refused = tried(cluster[1], "archive", "give-up")
        check(refused.returncode == 1 and f"{slots} slots are lost" in refused.stderr, refused)
        with Client(port_of(cluster[0])) as client:
            check(b"restored from the archive" in client.ask("GET", its[0]), "it was given up without --force")
        check(status_of(cluster[0])["restore"]["lost"] == slots, "it was given up without --force")
        given = cluster[1].ask("archive", "give-up", "--force")
        check(given["slots"] == slots, given)
        wait_for("all know", lambda: all(status_of(node)["restore"]["lost"] == 0 for node in cluster.running()))
        check(tried(cluster[0], "archive", "give-up").returncode == 1, "nothing is lost any more")
        check("no slot is lost" in tried(cluster[0], "archive", "give-up", "--force").stdout, "nothing is lost any more")
        aside.rename(path)
        with Client(port_of(cluster[0])) as client:
            check([ask(client, "EXISTS", key) for key in its] == [0] * len(its), "what was given up is there")
            check(ask(client, "HSET", its[0], "stays", "anew") == 1, its[0])
        check_all(cluster[0], others, ended)
        with Client(port_of(cluster[1])) as client:
            check(ask(client, "HGET", its[0], "stays") == b"anew", its[0])
            wait_for("each is there once", lambda: ask(client, "DBSIZE") == len(others) + 1)
        wait_for("all is archived", lambda: all(is_archived(node) for node in cluster.running()))


def test_owner_without_archive():
    """Who owns lost slots and has no archive says so, and brings them back once it has. Also where it is asked to give up who was lost
    it knows that others have one."""
    with archiving(3, "0", without=[0]) as (cluster, _):
        lives, ended = write(cluster, 100)
        its = owned_by(cluster, lives, cluster[2].name)
        lose(cluster, cluster[2])
        wait_for("the other one's have come", lambda: status_of(cluster[1])["restore"]["slots"] == 0)
        wait_for("it knows that only its own have not", lambda: (status_of(cluster[0])["restore"]["slots"] ==
                                                                 status_of(cluster[0])["restore"]["lost"] > 0))
        status = status_of(cluster[0])
        check(status["state"] == "off", status)
        check("archive.url" in status["restore"]["cause"], status)
        check("lost slots wait" in tried(cluster[0], "archive", "status").stdout, "archive status")
        check("archive.url" in cluster[0].http("/readyz")[1], "/readyz")
        check(cluster[0].log().count("archive-restore-impossible") == 1, "it is told once")
        cluster[0].stop()
        cluster[0].settings.append(f"archive.url=file://{cluster[0].directory / 'way'}")
        cluster.restart(cluster[0])
        check_all(cluster[1], its, [])
        wait_for("all have come back", lambda: slots_to_come(cluster) == 0)
        check_all(cluster[0], lives, ended)


if __name__ == "__main__":
    run_cases(__name__)
