"""An archive, read back: what there is of it, whether it is whole, and restores of all and of some of it. The archives are
made by archive_maker, which knows what they should give."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from cases import long, run_cases
from cluster import Cluster
from daemon import BUILD, Daemon, check, program, wait_for
from redis_kit import Client, port_of

MAKER = str(BUILD / "tests/integration/archive_maker")
SLOTS = 16384


class Made:
    """An archive of a history, with what it should give as of some times (0: in the end)."""

    def __init__(self, directory, seed, *cluster):
        self.directory = Path(directory) / "archive"
        self.url = f"file://{self.directory}"
        self.truth = {}
        lines = subprocess.run([MAKER, str(self.directory), "history", str(seed), *cluster], check=True, capture_output=True,
                               text=True).stdout
        for line in lines.splitlines():
            time_ms, key, *fields = line.split()
            shown = dict(field.split("=") for field in fields if not field.endswith("+"))
            self.truth.setdefault(int(time_ms), {})[key] = shown
        self.times = sorted(time_ms for time_ms in self.truth if time_ms > 0)

    def objects(self, kind):
        return sorted(path for path in self.directory.rglob("*") if path.is_file() and f"/{kind}/" in str(path))


@contextmanager
def made(seed=3):
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        yield Made(directory, seed)


def ctl(*words, expect=0, server="127.0.0.1:1", directory=None):
    """Run belayctl. Returns what it printed, and what it said on stderr."""
    done = subprocess.run([program("belayctl"), *(str(word) for word in words)], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, "BELAY_SERVER": server}, cwd=directory)
    check(done.returncode == expect, f"{words}: exit {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def restore(node, archive, *words, expect=0):
    out, _ = ctl("archive", "restore", "--from", archive.url, "--timeout", "30s", *words, "--json", expect=expect,
                 server=node.native, directory=archive.directory.parent)
    return json.loads(out)


def shown(node, keys):
    with Client(port_of(node)) as client:
        found = {}
        for key in keys:
            reply = client.ask("HGETALL", key)
            pairs = list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2]))
            found[key] = {name.decode(): value.decode() for name, value in pairs}
        return found


def test_cat():
    """An object by its name, whole or without the cluster's id, is what its file is."""
    with made() as archive:
        for path in (archive.objects("log")[0], archive.objects("checkpoint")[-1]):
            whole = str(path.relative_to(archive.directory))
            shown = ctl("archive", "cat", path)[0]
            check(shown.startswith("object kind=") and shown.splitlines()[-1].startswith("end records="), shown)
            check(ctl("archive", "cat", archive.url, whole)[0] == shown, whole)
            check(ctl("archive", "cat", archive.url, whole.split("/", 1)[1])[0] == shown, whole)
            check(ctl("archive", "cat", archive.url, whole, "--json") == ctl("archive", "cat", path, "--json"), whole)
            _, kind, actor, *numbers = whole.split("/")
            life = f"{int(actor[:8], 16)}.{int(actor[8:], 16)}"  # As archive ls has it.
            short = "/".join([kind, life, *(number if number == "done" else str(int(number, 16)) for number in numbers)])
            for name in (short, f"{'0' * 32}/{short}"):
                check(ctl("archive", "cat", archive.url, name)[0] == shown, name)
            check(f"{kind}/{life}/" in ctl("archive", "ls", archive.url)[0], "archive ls")
        path = archive.objects("log")[0]
        name = str(path.relative_to(archive.directory))
        _, err = ctl("archive", "cat", archive.url, "log/0000000900000001/0000000000000001", expect=1)
        check("there is no object" in err, err)
        _, err = ctl("archive", "cat", archive.url, name[:-1], expect=1)
        check("is no name of an object: one is as log/3.1/10" in err, err)
        _, err = ctl("archive", "cat", archive.url, expect=2)
        check("which object of" in err, err)
        path.write_bytes(path.read_bytes()[:-1])
        _, err = ctl("archive", "cat", archive.url, name, expect=1)
        check(name in err and "damaged: its trailer at byte" in err, err)
        path.rename(f"{path}.old")
        _, err = ctl("archive", "cat", archive.url, name, expect=1)
        check("there is no object" in err, err)


def test_ls_and_verify():
    """What there is, and that all of it is whole; damage and a missing object are named, and the exit code says so."""
    with made() as archive:
        listed = json.loads(ctl("archive", "ls", archive.url, "--json")[0])["clusters"]
        check(len(listed) == 1 and listed[0]["cluster"] == "0" * 32, listed)
        check({log["actor"] for log in listed[0]["logs"]} == {"1.1", "2.1", "3.1"}, listed)
        check(all(checkpoint["whole"] for checkpoint in listed[0]["checkpoints"]) and listed[0]["checkpoints"], listed)
        check("cluster " + "0" * 32 in ctl("archive", "ls", archive.url)[0], "for people")
        whole = json.loads(ctl("archive", "verify", archive.url, "--json")[0])
        check(whole["damaged"] == whole["unfinished"] == 0 and whole["gaps"] == [] and whole["records"] > 0, whole)
        check(whole["objects"] == len(archive.objects("log")) + len(archive.objects("checkpoint")), whole)

        # One without its end is no damage, and it is said what it is.
        ends = sorted(path for path in archive.objects("checkpoint") if path.name == "done")
        ends = [path for path in ends if path.parent.parent == ends[0].parent.parent]
        for end in {ends[0], ends[-1]}:
            end.rename(archive.directory / "aside")
            later = end != ends[-1]
            state = next(one["state"] for one in json.loads(ctl("archive", "ls", archive.url, "--json")[0])["clusters"][0]["checkpoints"]
                         if one["state"] != "whole")
            check(state == ("given_up" if later else "unfinished"), state)
            check(("given up" if later else "not finished yet") in ctl("archive", "ls", archive.url)[0], "for people")
            check(json.loads(ctl("archive", "verify", archive.url, "--json")[0])["unfinished"] == 1, "verify")
            (archive.directory / "aside").rename(end)

        logs = [path for path in archive.objects("log") if path.parent.name == "0000000100000001"]
        bytes_of = logs[1].read_bytes()
        for at in (5, 130, len(bytes_of) - 3):  # Header, block, trailer.
            logs[1].write_bytes(bytes_of[:at] + bytes([bytes_of[at] ^ 1]) + bytes_of[at + 1:])
            out, err = ctl("archive", "verify", archive.url, "--json", expect=1)
            check(json.loads(out)["damaged"] == 1, out)
            check(f"log/{logs[1].parent.name}/{logs[1].name}: it is damaged" in err, err)
        logs[1].write_bytes(bytes_of)
        logs[2].unlink()
        out, err = ctl("archive", "verify", archive.url, "--json", expect=1)
        check([(gap["actor"], gap["first"], gap["last"]) for gap in json.loads(out)["gaps"]] == [("1.1", 3, 3)], out)
        check("log of 1.1: 3 to 3 are missing" in err, err)


def test_places():
    """What is wrong with a place is said."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        check("there is no archive" in ctl("archive", "verify", f"file://{directory}", expect=1)[1], "an empty directory")
        check("there is no archive" in ctl("archive", "ls", f"file://{directory}", expect=1)[1], "nor for ls")
        absent = Path(directory) / "absent"
        for words in (("ls", f"file://{absent}"), ("verify", f"file://{absent}"), ("forget", f"file://{absent}", "--older-than", "1d"),
                      ("restore", "--from", f"file://{absent}"), ("cat", f"file://{absent}", f"log/{1:016x}/{1:016x}")):
            _, err = ctl("archive", *words, expect=1)
            check(f"{absent}: No such file" in err and not absent.exists(), f"{words}: {err}")
        _, err = ctl("archive", "verify", f"file://{directory}", "--key-file", absent, expect=1)
        check(f"{absent}: No such file" in err, err)
        ctl("archive", "ls", "ftp://127.0.0.1/y", expect=2)
        ctl("archive", "ls", expect=2)
        ctl("archive", "restore", expect=2)
        ctl("archive", "restore", "--from", f"file://{directory}", "--as-of", "yesterday", expect=2)
        ctl("archive", "restore", "--from", f"file://{directory}", "--session", "a", expect=2)
        _, err = ctl("archive", "restore", "--from", f"file://{directory}", "--session", "a", "--session", "b", "--as-of", "1m", expect=2)
        check("one --session" in err, err)
    with made() as archive:
        for words in (("ls", archive.url), ("verify", archive.url), ("forget", archive.url, "--older-than", "1d"),
                      ("restore", "--from", archive.url, "--force")):
            _, err = ctl("archive", *words, "--cluster", "f" * 32, expect=1)
            check("has nothing of cluster " + "f" * 32 in err, err)
            ctl("archive", *words, "--cluster", "f" * 31, expect=2)
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        credentials = Path(directory) / "credentials"
        credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        silent.listen(8)
        _, err = ctl("archive", "ls", "s3://bucket/x", "--endpoint", "http://127.0.0.1:%d" % silent.getsockname()[1], "--timeout", "1s",
                     "--credentials-file", credentials, expect=3)
        check("s3://bucket/x: " in err and "--timeout" in err, err)
        ctl("archive", "verify", f"file://{directory}", "--cluster", "xy", expect=2)


def test_without_the_key():
    """Who reads an enciphered archive without its key is told how to give it."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        keys = Path(directory) / "keys"
        keys.write_text("first " + "5a" * 32 + "\n")
        url = f"file://{directory}/archive"
        with Daemon([f"archive.url={url}", f"archive.key_file={keys}"]) as daemon:
            daemon.start()
            daemon.run("belayctl", "session", "put", "k", "v", "--ack", "archive")
        for words in (("verify", url), ("restore", "--from", url, "--session", "k", "--as-of", "0s")):
            _, err = ctl("archive", *words, expect=1)
            check("Give it with --key-file or BELAY_ARCHIVE_KEYS" in err, err)
        ctl("archive", "verify", url, "--key-file", keys)


def test_restore():
    """A cluster comes back as it was in the end, in a node alone and in a cluster of another size; ended sessions do not, and
    a second restore is refused, unless it is to be merged, which changes nothing."""
    for seed in (3, 4):
        with made(seed) as archive, Daemon() as daemon:
            daemon.start()
            done = restore(daemon, archive)
            truth = archive.truth[0]
            live = [key for key in truth if truth[key]]
            check(done["sessions"] == len(live) > 0 and done["left"] == done["damaged"] == done["refused"] == 0, done)
            check(shown(daemon, truth) == truth, shown(daemon, truth))
            check(not list(archive.directory.parent.glob("belay-restore-*")), "its state is gone")
            check("has sessions" in restore(daemon, archive, expect=1)["error"]["text"], "not empty")
            restore(daemon, archive, "--force")
            check(shown(daemon, truth) == truth, "once more")
            check(daemon.stop() == 0, "stops")
            daemon.start()
            check(shown(daemon, truth) == truth, "after a restart")
    with made(5) as archive, Cluster(3) as cluster:
        cluster.start()
        truth = archive.truth[0]
        with Client(port_of(cluster[0])) as client:  # Its nodes are numbered as those of the archive were, and have written.
            for key in truth:
                client.ask("SET", "{%s}" % key, "x")
                client.ask("DEL", "{%s}" % key)
        restore(cluster[1], archive)
        for node in cluster:
            check(shown(node, truth) == truth, shown(node, truth))
        for key in truth:  # What this cluster has seen of its own says nothing of what came back, at no owner.
            if truth[key]:
                inspected = json.loads(cluster[0].run("belayctl", "session", "inspect", key, "--json"))
                check(len(inspected["copies"]) == 2 and all(copy["live"] for copy in inspected["copies"]), inspected)
        key = next(key for key in truth if truth[key])
        with Client(port_of(cluster[0])) as client:
            client.ask("HSET", key, "new", "1")
            client.ask("DEL", next(other for other in truth if truth[other] and other != key))
        check(shown(cluster[2], [key])[key] == {**truth[key], "new": "1"}, "goes on from there")


def test_restore_as_of():
    """As it was at a time."""
    with made() as archive:
        for time_ms in archive.times:
            with Daemon() as daemon:
                daemon.start()
                restore(daemon, archive, "--as-of", f"@{time_ms}")
                truth = archive.truth[time_ms]
                check(shown(daemon, truth) == truth, shown(daemon, truth))


def test_restore_of_the_damaged():
    """What is damaged is named, and the rest is restored; what a damaged checkpoint had comes from the logs."""
    for at in (130, -2):  # A block, or where the rest is said to be.
        with made() as archive, Daemon() as daemon:
            daemon.start()
            for part in archive.objects("checkpoint"):
                if part.name != "done":
                    data = bytearray(part.read_bytes())
                    data[at] ^= 1
                    part.write_bytes(data)
            done = restore(daemon, archive, expect=1)
            truth = archive.truth[0]
            check(done["damaged"] > 0 and done["left"] == 0, done)
            check(shown(daemon, truth) == truth, shown(daemon, truth))


def test_restore_of_what_is_missing():
    """A part of a log that is not there is named, and the exit code says so, whatever is restored; but not where it was written
    after the time that is asked for. Of a time before the archive begins there is nothing, which is said."""
    with made() as archive, Daemon() as daemon:
        daemon.start()
        key = next(key for key, fields in archive.truth[0].items() if fields)
        early, _, late = archive.times
        restore(daemon, archive, f"--as-of=@{late}")
        log = [path for path in archive.objects("log") if path.parent.name == "0000000100000001"]
        log[-2].unlink()
        missing = f"log of 1.1: {len(log) - 1} to {len(log) - 1} are missing"
        for words in (("--force",), ("--session", key, "--as-of", "0s", "--dry-run"), ("--prefix", key, "--as-of", "0s")):
            _, err = ctl("archive", "restore", "--from", archive.url, *words, server=daemon.native, directory=archive.directory.parent,
                         expect=1)
            check(missing in err, err)
        out, err = ctl("archive", "restore", "--from", archive.url, "--force", "--as-of", f"@{early}", server=daemon.native,
                       directory=archive.directory.parent)
        check("missing" not in out + err, out + err)
        for words in (("--force",), ("--session", key)):
            _, err = ctl("archive", "restore", "--from", archive.url, "--as-of", "@1600000000000", *words, server=daemon.native,
                         directory=archive.directory.parent, expect=1)
            check("the archive has nothing as of 2020-09-13" in err, err)
        check(not list(archive.directory.parent.glob("belay-restore-*")), "nothing is left to go on with")


def test_restore_goes_on():
    """A restore that is killed goes on where it was when it is run again: into the same cluster, and one at a time."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory, Daemon() as daemon, Daemon() as other:
        other.start()
        subprocess.run([MAKER, f"{directory}/archive", "bulk", "24000"], check=True)
        daemon.start()
        words = [program("belayctl"), "archive", "restore", "--from", f"file://{directory}/archive", "--json"]
        state = Path(directory) / "belay-restore-00000000"

        def next_slot():
            text = state.read_text() if state.exists() else ""
            return int(text.split("next_slot ")[1].split()[0]) if "next_slot " in text else 0

        with subprocess.Popen(words, cwd=directory, env={**os.environ, "BELAY_SERVER": daemon.native},
                              stdout=subprocess.DEVNULL) as process:
            try:
                wait_for("a range is done", lambda: next_slot() > 0, timeout_s=120)
                process.send_signal(signal.SIGSTOP)
                _, err = ctl(*words[1:-1], server=daemon.native, directory=directory, expect=1)
                check("another restore is under way" in err, err)
            finally:
                process.send_signal(signal.SIGKILL)
        at = next_slot()
        check(0 < at < SLOTS, f"killed in the middle: {at}")
        text = state.read_text()
        before = int(text.split("sessions ")[1].split()[0])
        begun = text.split("begun_ms ")[1].split()[0]
        state.write_text(text.replace(begun, str(int(begun) - 7 * 24 * 3600 * 1000)))
        said = "".join(ctl(*words[1:], expect=1, server=daemon.native, directory=directory))
        check("begun more than 7 days ago" in said, said)
        state.write_text(text)
        _, err = ctl(*words[1:-1], server=other.native, directory=directory, expect=1)
        check("a restore into another cluster" in err and state.read_text() == text, err)
        out, _ = ctl(*words[1:], server=daemon.native, directory=directory)
        done = json.loads(out)
        check(done["sessions"] == 24000 > before > 0, done)
        with Client(port_of(daemon)) as client:
            check(client.ask("DBSIZE") == 24000, "all are there")
        check(not list(Path(directory).glob("belay-restore-*")), "its state is gone")


def test_what_is_waited_for_is_told():
    """An S3 that takes the connection and says nothing: that it is still tried is said once, and not among JSON."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = ("archive", "ls", "s3://bucket/x", "--endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "4s")
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for more in ((), ("--json",)):
            done = subprocess.run([program("belayctl"), *words, *more], capture_output=True, text=True, check=False,
                                  stdin=subprocess.DEVNULL, env={**os.environ, **keys})
            check(done.returncode == 3, done)
            check(done.stderr.count("has not answered for 3 s") == (not more), done.stderr)


@long
def test_a_node_that_hangs_is_told():
    """Where the cluster takes nothing of a restore that is under way, that is said while it is tried on; and it goes on."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory, Daemon() as daemon:
        subprocess.run([MAKER, f"{directory}/archive", "bulk", "16000"], check=True)
        daemon.start()
        words = [program("belayctl"), "archive", "restore", "--from", f"file://{directory}/archive", "--timeout", "1s"]
        said = Path(directory) / "said"
        with said.open("w") as file, subprocess.Popen(words, cwd=directory, stdout=subprocess.DEVNULL, stderr=file,
                                                      env={**os.environ, "BELAY_SERVER": daemon.native}) as process:
            try:
                state = Path(directory) / "belay-restore-00000000"
                wait_for("it is under way", lambda: state.exists() and "next_slot " in state.read_text(), timeout_s=120)
                daemon.process.send_signal(signal.SIGSTOP)
                wait_for("it is told", lambda: "the cluster takes nothing" in said.read_text())
                daemon.process.send_signal(signal.SIGCONT)
                check(process.wait(timeout=120) == 0, said.read_text())
            finally:
                daemon.process.send_signal(signal.SIGCONT)
                process.kill()
        check(said.read_text().count("the cluster takes nothing") == 1, said.read_text())
        with Client(port_of(daemon)) as client:
            check(client.ask("DBSIZE") == 16000, "all are there")


def test_forget():
    """What restores of a window do not need goes, and they are as before; a window as long as all keeps all."""
    with made() as archive:
        kept = archive.objects("log") + archive.objects("checkpoint")
        gone = json.loads(ctl("archive", "forget", archive.url, "--older-than", "3650d", "--json")[0])
        check(gone["objects"] == 0, gone)
        told = json.loads(ctl("archive", "forget", archive.url, "--older-than", "1ms", "--dry-run", "--json")[0])
        check(told["objects"] == len(told["names"]) > 0, told)
        check(kept == archive.objects("log") + archive.objects("checkpoint"), "nothing was removed yet")
        gone = json.loads(ctl("archive", "forget", archive.url, "--older-than", "1ms", "--json")[0])
        check(gone["names"] == told["names"], gone)
        check(len(archive.objects("log") + archive.objects("checkpoint")) == len(kept) - gone["objects"], "they are gone")
        json.loads(ctl("archive", "verify", archive.url, "--json")[0])
        ctl("archive", "forget", archive.url, expect=2)
        with Daemon() as daemon:
            daemon.start()
            restore(daemon, archive)
            check(shown(daemon, archive.truth[0]) == archive.truth[0], "as before")


def flip(path):
    """Change a byte of its first block."""
    there = path.read_bytes()
    path.write_bytes(there[:140] + bytes([there[140] ^ 1]) + there[141:])


def test_forget_reads_first():
    """Where the checkpoints are damaged they are named, and all stays that gives what they have."""
    with made() as archive:
        parts = [path for path in archive.objects("checkpoint") if path.name != "done"]
        kept = archive.objects("log") + archive.objects("checkpoint")
        for path in parts:
            flip(path)
        out, err = ctl("archive", "forget", archive.url, "--older-than", "1ms", "--json", expect=1)
        check(json.loads(out)["objects"] == 0 and json.loads(out)["damaged"] > 0, out)
        check("it is damaged" in err, err)
        check(kept == archive.objects("log") + archive.objects("checkpoint"), "all is there")
        with Daemon() as daemon:
            daemon.start()
            restore(daemon, archive, expect=1)
            check(shown(daemon, archive.truth[0]) == archive.truth[0], "nothing is lost")
        for path in parts:
            flip(path)
        check(json.loads(ctl("archive", "forget", archive.url, "--older-than", "1ms", "--json")[0])["objects"] > 0, "they go")


def await_archived(node):
    """What was acknowledged at lower levels is there as well, of each shard."""
    wait_for("all is archived", lambda: node.document("archive")["archive"]["unarchived_bytes"] == 0)


def test_from_a_node_that_is_lost():
    """A node archives, dies, and its disk is gone: another one gets all that was acknowledged at `archive`, and what had
    ended stays ended."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        archive = f"file://{directory}/archive"
        with Daemon(settings=[f"archive.url={archive}", "archive.flush=50ms"]) as lost:
            lost.start()
            with Client(port_of(lost)) as client:
                for number in range(200):
                    client.ask("HSET", f"s:{number}", "a", number, "b", "x" * 300)
                for number in range(200):
                    client.ask("HSET", f"s:{number}", "a", number + 1)
                for number in range(0, 200, 10):
                    client.ask("DEL", f"s:{number}")
            lost.run("belayctl", "session", "put", "last", "v", "--ack", "archive")
            await_archived(lost)
            lost.kill()
        ctl("archive", "verify", archive)
        with Daemon() as daemon:
            daemon.start()
            ctl("archive", "restore", "--from", archive, server=daemon.native, directory=directory)
            with Client(port_of(daemon)) as client:
                check(client.ask("DBSIZE") == 181, client.ask("DBSIZE"))
                check(client.ask("GET", "last") == b"v", "the last one")
                for number in range(200):
                    wanted = [None, None] if number % 10 == 0 else [b"%d" % (number + 1), b"x" * 300]
                    check(client.ask("HMGET", f"s:{number}", "a", "b") == wanted, number)


def test_checkpoints_of_a_node():
    """What a node had before it archived, and writes after: its checkpoint has the one, its log the other, both with what
    ended. Restored, also once retention has removed what the checkpoint has."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        archive = f"file://{directory}/archive"
        with Daemon() as lost:
            lost.start()
            with Client(port_of(lost)) as client:
                for number in range(100):
                    client.ask("SET", f"old:{number}", "v")
                client.ask("DEL", "old:0")
            check(lost.stop() == 0, "stops")
            # With another number of shards all of it lies in checkpoints, and none in the log.
            lost.settings += [f"archive.url={archive}", "archive.flush=50ms", "archive.keep=0", "node.shards=3"]
            lost.start()
            wait_for("an object is there", lambda: any(path.is_file() and not path.name.startswith(".part-")
                                                       for path in (Path(directory) / "archive").rglob("*")))
            wait_for("a checkpoint is there",
                     lambda: any(one["whole"] for cluster in json.loads(ctl("archive", "ls", archive, "--json")[0])["clusters"]
                                 for one in cluster["checkpoints"]))
            with Client(port_of(lost)) as client:
                client.ask("DEL", "old:1")
                client.ask("SET", "new", "v")
            lost.run("belayctl", "session", "put", "last", "v", "--ack", "archive")
            await_archived(lost)
            lost.kill()
        for _ in range(2):
            check(json.loads(ctl("archive", "verify", archive, "--json")[0])["records"] > 98, "whole")
            with Daemon() as daemon:
                daemon.start()
                ctl("archive", "restore", "--from", archive, server=daemon.native, directory=directory)
                with Client(port_of(daemon)) as client:
                    check(client.ask("DBSIZE") == 100, client.ask("DBSIZE"))
                    check(client.ask("MGET", "old:0", "old:1", "old:99", "new", "last") == [None, None, b"v", b"v", b"v"], "they")
            ctl("archive", "forget", archive, "--older-than", "1ms")


def test_retention():
    """A node removes by itself what no restore within archive.keep needs."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        url = f"file://{directory}/archive"
        with Daemon(settings=[f"archive.url={url}", "archive.flush=50ms", "archive.keep=0"]) as daemon:
            daemon.start()
            daemon.run("belayctl", "session", "put", "own", "v", "--ack", "archive")
            cluster = next(Path(directory).glob("archive/*")).name
            archive = Made(directory, 3, cluster)

            def go():
                told = ctl("archive", "forget", url, "--older-than", "1s", "--dry-run", "--json")[0]
                return json.loads(told)["objects"]

            check(go() > 0, "there is something to do")
            check(daemon.stop() == 0, "stops")
            check(go() > 0, "nothing goes where all is kept")
            daemon.settings[-1] = "archive.keep=1s"
            parts = [path for path in archive.objects("checkpoint")
                     if cluster in str(path) and path.name != "done"]
            for path in parts:
                flip(path)
            daemon.start()
            wait_for("damage is told", lambda: "archive-retention-damaged" in daemon.log())
            for path in parts:
                with contextlib.suppress(FileNotFoundError):  # It may have gone by now: the log has what it had.
                    flip(path)
            wait_for("all has gone that may", lambda: go() == 0)
            wait_for("it is told", lambda: "archive-retention" in daemon.log())
            ctl("archive", "verify", url)
            check(daemon.stop() == 0, "stops")
        with Daemon() as other:
            other.start()
            restore(other, archive)
            check(shown(other, archive.truth[0]) == archive.truth[0], shown(other, archive.truth[0]))


def test_archived_again():
    """What was put back is archived as what is written there: what ends has ended, and retention goes on."""
    with made() as archive, Daemon(shards=1) as again, Daemon() as last:
        again.settings += [f"archive.url=file://{archive.directory.parent}/again", "archive.flush=50ms", "archive.keep=0"]
        again.start()
        restore(again, archive)
        truth = dict(archive.truth[0])
        ended = next(key for key in truth if truth[key])
        with Client(port_of(again)) as client:
            client.ask("DEL", ended)
        truth[ended] = {}
        await_archived(again)

        def logs():
            listed = json.loads(ctl("archive", "ls", f"file://{archive.directory.parent}/again", "--json")[0])
            return listed["clusters"][0]["logs"]

        check(logs() != [], "it is archived")
        # With another number of shards all lies in checkpoints, of which one goes to the archive.
        check(again.stop() == 0, "stops")
        again.settings += ["node.shards=2", "archive.keep=1s"]
        again.start()
        wait_for("what a checkpoint has is gone", lambda: logs() == [])
        again.kill()
        last.start()
        ctl("archive", "restore", "--from", f"file://{archive.directory.parent}/again", server=last.native,
            directory=archive.directory.parent)
        check(shown(last, truth) == truth, shown(last, truth))


def test_some_sessions():
    """One session, or those of a prefix, as they were: into place as new writes, only said, or to a file."""
    with made() as archive, Daemon() as daemon:
        daemon.start()
        restore(daemon, archive)
        now = archive.truth[0]
        time_ms = next(time for time in archive.times if any(archive.truth[time][key] not in ({}, now[key]) for key in now))
        then = archive.truth[time_ms]
        as_of = ("--as-of", f"@{time_ms}")
        changed = next(key for key in now if then[key] and now[key] and then[key] != now[key])
        told = restore(daemon, archive, "--session", changed, *as_of, "--dry-run")
        check(told["written"] == 1 and told["dry_run"] and shown(daemon, now) == now, told)
        told = restore(daemon, archive, "--session", changed, *as_of)
        check(told["written"] == 1, told)
        check(shown(daemon, now) == {**now, changed: then[changed]}, "one is as it was")
        check(restore(daemon, archive, "--session", changed, *as_of)["same"] == 1, "it is the same now")
        check(restore(daemon, archive, "--session", "never", *as_of, expect=1)["written"] == 0, "there is none")

        file = archive.directory.parent / "file"
        told = restore(daemon, archive, "--prefix", "session-", *as_of, "--output", file)
        lines = {line["key"]: {field["name"]: field["value"] for field in line["fields"]}
                 for line in map(json.loads, file.read_text().splitlines())}
        check(lines == {key: then[key] for key in then if then[key]}, lines)

        restore(daemon, archive, "--prefix", "session-", *as_of)
        expected = {key: then[key] if then[key] and now[key] else now[key] for key in now}
        check(shown(daemon, now) == expected, "what has ended stays so")
        told = restore(daemon, archive, "--prefix", "session-", *as_of, "--undelete")
        expected = {key: then[key] or now[key] for key in now}
        check(shown(daemon, now) == expected, "and comes back where that is asked for")

        with Client(port_of(daemon)) as client:
            client.ask("DEL", changed)
        told = restore(daemon, archive, "--session", changed, *as_of, expect=1)
        check(told["ended"] == 1 and told["written"] == 0, told)
        out, _ = ctl("archive", "restore", "--from", archive.url, "--prefix", "session-", *as_of, "--dry-run", server=daemon.native)
        check(re.search(r"^[0-9]+ sessions: to be written [0-9]+, .*ended since then 1,", out.splitlines()[-1]), out)
        ctl("archive", "restore", "--from", archive.url, "--session", changed, "--as-of", "2026-02-30T00:00:00Z", expect=2)


if __name__ == "__main__":
    run_cases(__name__)
