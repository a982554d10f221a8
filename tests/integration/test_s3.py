"""Objects in S3, as Ceph's RADOS gateway has them: what is promised holds in races, whatever is lost on the way, and once
the server is well again. And an archive there: what comes back from it, and what retention leaves. Each case has a prefix of its
own in one bucket of one server."""

import contextlib
import errno
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import object_checks
from cases import run_cases
from ceph import Ceph
from daemon import Daemon, check, program, wait_for
from http_faults import HttpFaults
from object_checks import BUCKET, expect, expect_object, options
from objects import Objects, body_hash
from redis_kit import Client, port_of

CEPH = Ceph()
TRY_MS = 1000
ROUNDS = 20
RACERS = 6


def through(proxy):
    return CEPH.through(proxy.address)


def test_objects():
    object_checks.check_objects(CEPH)


def test_hash_is_told():
    """Who has made the hash of an object says it, and that is what the server goes by."""
    with Objects(options(CEPH, "hashes/", call_ms=5000)) as objects:
        for only_new in (True, False):
            expect(objects.put(f"right {only_new}", 1000, 4, only_new=only_new, hash=body_hash(1000, 4)))
            expect_object(objects, f"right {only_new}", 1000, 4)
        refused = expect(objects.put("wrong", 1000, 4, hash=body_hash(1000, 5)), errno.ETIMEDOUT)
        check("SHA256Mismatch" in refused["text"], refused)
        expect(objects.get("wrong"), errno.ENOENT)


def test_parts_of_objects():
    object_checks.check_parts_of_objects(CEPH)


def test_names():
    object_checks.check_names(CEPH)


def test_lists():
    object_checks.check_lists(CEPH, 1005) # More than an answer has.


def test_refused():
    object_checks.check_refused(CEPH)


def test_large():
    with HttpFaults(CEPH.address) as proxy:
        object_checks.check_large(CEPH, proxy, object_checks.PART_FAULTS + object_checks.END_FAULTS)


def test_tidy():
    with HttpFaults(CEPH.address) as proxy:
        object_checks.check_tidy(CEPH, proxy)


def test_many_uploads():
    """More than the server tells of at a time, and than a call removes."""
    for number in range(1002):
        CEPH.begin_upload(BUCKET, f"many/{number:04}")
    later = time.time() + object_checks.LONG_AGO_S
    with Objects(options(CEPH, "many/")) as objects:
        answer = expect(objects.tidy("", later))
        check(len(answer["names"]) == 1000 and answer["more"], (len(answer["names"]), answer["more"]))
        answer = expect(objects.tidy("", later))
        check([name for name, _ in answer["names"]] == ["1000", "1001"] and not answer["more"], answer)


class Archive:
    """Of nodes, in the bucket, and how belayctl reads it: through a proxy, where there is one."""

    def __init__(self, directory, prefix):
        self.url = f"s3://{BUCKET}/{prefix}"
        self.credentials = Path(directory) / "credentials"
        self.credentials.write_text(f"[default]\naws_access_key_id = {CEPH.access_key}\n"
                                    f"aws_secret_access_key = {CEPH.secret_key}\n")
        self.address = CEPH.address

    def settings(self, *more):
        return [f"archive.url={self.url}", f"archive.endpoint=http://{CEPH.address}",
                f"archive.credentials_file={self.credentials}", "archive.flush=50ms", *more]

    def ctl(self, verb, *words, node=None):
        done = subprocess.run(
            [program("belayctl"), "archive", verb, *(["--from", self.url] if verb == "restore" else [self.url]), "--json",
             "--endpoint", f"http://{self.address}", "--path-style", "--credentials-file", str(self.credentials),
             "--timeout", "60s", *words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=self.credentials.parent,
            env={**os.environ, "BELAY_SERVER": "127.0.0.1:1" if node is None else node.native})
        check(done.returncode == 0, f"{verb}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def restored(self, wanted):
        """Restore it into an empty node."""
        with Daemon() as node:
            node.start()
            done = self.ctl("restore", node=node)
            check(done["sessions"] == len(wanted) and done["damaged"] == done["left"] == done["refused"] == 0, done)
            with Client(port_of(node)) as client:
                check(client.ask("DBSIZE") == len(wanted), client.ask("DBSIZE"))
                found = dict(zip(wanted, client.ask("MGET", *wanted)))
                check(found == wanted, {key: value for key, value in found.items() if wanted[key] != value})


def await_archived(node):
    wait_for("all is archived", lambda: node.document("archive")["archive"]["unarchived_bytes"] == 0)


def test_archive():
    """A node archives and dies, and its disk is gone: all comes back, also where the server fails now and then while it is read;
    and once more when retention has removed what checkpoints have."""
    with contextlib.ExitStack() as stack:
        archive = Archive(stack.enter_context(tempfile.TemporaryDirectory(prefix="belay-test-")), "archive")
        lost = stack.enter_context(Daemon(archive.settings("archive.keep=0"), shards=1))
        lost.start()
        wanted = {f"s:{number}": b"%d" % number + b"x" * 300 for number in range(300)}
        with Client(port_of(lost)) as client:
            for part in range(10):  # Some objects.
                for key in list(wanted)[part::10]:
                    client.ask("SET", key, wanted[key])
                lost.run("belayctl", "session", "put", f"last:{part}", str(part), "--ack", "archive")
                wanted[f"last:{part}"] = b"%d" % part
            for key in list(wanted)[:300:7]:
                client.ask("DEL", key)
                del wanted[key]
        await_archived(lost)
        logs = archive.ctl("ls")["clusters"][0]["logs"]
        check(sum(log["objects"] for log in logs) >= 10, logs)
        with HttpFaults(CEPH.address) as proxy:
            archive.address = proxy.address
            faults = [proxy.add(kind, "GET", "/log/") for kind in ("error", "cut_answer", "lose_answer")]
            archive.restored(wanted)
            check(all(fault.came == 1 for fault in faults), [fault.came for fault in faults])
            archive.address = CEPH.address

        # With another number of shards all lies in checkpoints, of which one goes to the archive; then logs may go.
        check(lost.stop() == 0, "stops")
        lost.settings = [setting for setting in lost.settings if not setting.startswith("archive.keep")]
        lost.settings += ["node.shards=2", "archive.keep=1s"]
        lost.start()
        wait_for("what a checkpoint has is gone", lambda: archive.ctl("ls")["clusters"][0]["logs"] == [])
        lost.run("belayctl", "session", "put", "after", "v", "--ack", "archive")
        wanted["after"] = b"v"
        lost.kill()
        check(archive.ctl("verify")["damaged"] == 0, "it is whole")
        archive.restored(wanted)


def test_lost_answers():
    with HttpFaults(CEPH.address) as proxy:
        object_checks.check_lost_answers(CEPH, proxy)


def test_races():
    """Of many that write an object which is to be new one wins; all others hear of it, and it is the winner's."""
    with Objects(options(CEPH, "races/", parallel=RACERS)) as one, \
            Objects(options(CEPH, "races/", parallel=RACERS)) as other:
        for number in range(ROUNDS):
            name = f"round-{number}"
            calls = [(objects, seed, objects.begin("put", name=name, size=2000, seed=seed, only_new=True))
                     for at in range(RACERS) for seed, objects in ((2 * at, one), (2 * at + 1, other))]
            winners = []
            for objects, seed, call in calls:
                answer = objects.wait(call)
                if answer["rc"] == 0:
                    winners.append(seed)
                else:
                    expect(answer, errno.EEXIST)
            check(len(winners) == 1, (number, winners))
            expect_object(one, name, 2000, winners[0])


def test_lost_answers_of_losers():
    """Somebody else was there before: also who does not hear of it at once is told."""
    with HttpFaults(CEPH.address) as proxy, Objects(options(through(proxy), "losers/")) as objects:
        for kind in ("lose_answer", "late_error", "refuse_body", "error"):
            expect(objects.put(kind, 3000, 1, only_new=True))
            fault = proxy.add(kind, "PUT", f"losers/{kind}")
            expect(objects.put(kind, 3000, 2, only_new=True), errno.EEXIST)
            check(fault.came == 1, "the fault came")
            expect_object(objects, kind, 3000, 1)


def test_answers_cut_and_slow():
    """What is read is right and whole, or is read again."""
    with HttpFaults(CEPH.address) as proxy, Objects(options(through(proxy), "reads/", try_ms=TRY_MS)) as objects:
        names = [f"{number}" for number in range(20)]
        for name in names:
            expect(objects.put(name, 300, 1))
        # Slow is not dead; a byte in ten minutes is.
        for kind, pause_s, again in (("cut_answer", 0, True), ("lose_answer", 0, True), ("error", 0, True),
                                     ("late_error", 0, True), ("hang", 0, True), ("drip", 0.001, False),
                                     ("drip", 600, True)):
            fault = proxy.add(kind, "GET", "reads/7", pause_s=pause_s)
            expect_object(objects, "7", 300, 1)
            check(fault.came == 1, kind)
            fault = proxy.add(kind, "GET", "list-type", pause_s=pause_s / 10)
            tries_before = objects.tries_again()
            check(objects.names() == sorted(names) and fault.came == 1, kind)
            check(not again or objects.tries_again() > tries_before, kind)
        for kind in ("lose_answer", "late_error", "error", "hang"):
            fault = proxy.add(kind, "DELETE")
            expect(objects.remove(names.pop()))
            check(fault.came == 1 and objects.names() == sorted(names), kind)


def test_time_is_up():
    """A call ends when its time is over, with what its last try met."""
    with HttpFaults(CEPH.address) as proxy, \
            Objects(options(through(proxy), "late/", try_ms=TRY_MS, call_ms=1500)) as objects:
        for kind, text, ops in (("error", "500 InternalError", ("put", "get", "list", "remove")),
                                ("refuse_body", "", ("put", "get", "list", "remove")),
                                ("hang", "", ("put", "get", "list", "remove")),
                                ("drip", "", ("get", "list"))): # The others' answers have no bodies.
            for method in ("PUT", "GET", "DELETE"):
                proxy.add(kind, method, times=1 << 20, pause_s=0.5)
            calls = [objects.begin(op, name="one", size=10, seed=1, only_new=True, bytes_max=10) for op in ops]
            for call in calls:
                check(text in expect(objects.wait(call), errno.ETIMEDOUT)["text"], kind)
            proxy.clear()


def test_closed():
    """Calls that are under way, or wait for their turn, end when the store goes."""
    with HttpFaults(CEPH.address) as proxy, Objects(options(through(proxy), "closed/", parallel=2)) as objects:
        fault = proxy.add("hang", "PUT", times=1 << 20)
        calls = [objects.begin("put", name=f"{number}", size=10, seed=1) for number in range(5)]
        proxy.wait_for(fault, 2)
        objects.close()
        for call in calls:
            expect(objects.wait(call), errno.ECANCELED)


def test_user_is_suspended():
    """Before any gateway is killed: Ceph would wait for it to hear of the change."""
    with Objects(options(CEPH, "suspended/")) as objects:
        expect(objects.put("one", 10, 1))
        CEPH.suspend_user()
        try:
            check("UserSuspended" in expect(objects.put("two", 10, 1, only_new=True), errno.EACCES)["text"], "it says why")
            expect(objects.get("one"), errno.EACCES)
            check(objects.tries_again() == 0, "tried again")
        finally:
            CEPH.resume_user()
        expect(objects.put("two", 10, 1, only_new=True))


def check_outage(prefix, begin, end):
    """Calls outlast an outage; one whose time is shorter ends."""
    with Objects(options(CEPH, prefix, try_ms=TRY_MS)) as objects, \
            Objects(options(CEPH, prefix, try_ms=TRY_MS, call_ms=500)) as hasty:
        expect(objects.put("there", 100, 1))
        expect(objects.put("gone", 100, 1))
        begin()
        try:
            put = objects.begin("put", name="new", size=100, seed=2, only_new=True)
            get = objects.begin("get", name="there", bytes_max=100)
            list_call = objects.begin("list", name="there")
            remove = objects.begin("remove", name="gone")
            expect(hasty.get("there"), errno.ETIMEDOUT)
            wait_for("all are tried again", lambda: objects.tries_again() >= 4)
        finally:
            end()
        expect(objects.wait(put))
        check(expect(objects.wait(get))["sha256"] == body_hash(100, 1), "what was read")
        check(expect(objects.wait(list_call))["names"] == [["there", 100]], "what was listed")
        expect(objects.wait(remove))
        expect_object(objects, "new", 100, 2)
        check(objects.names() == ["new", "there"], objects.names())


def test_refuses():
    check_outage("refuses/", CEPH.refuse, CEPH.accept)


def test_freezes():
    check_outage("freezes/", CEPH.freeze, CEPH.thaw)


def test_stalls():
    check_outage("stalls/", CEPH.stall, CEPH.unstall)


def test_slows_down():
    check_outage("slows_down/", lambda: CEPH.slow_down(BUCKET), CEPH.speed_up)


if __name__ == "__main__":
    with CEPH:
        CEPH.make_bucket(BUCKET)
        run_cases(__name__)
