"""What holds for objects in every S3 server: test_s3.py and test_s3_swift.py. Each check takes the server, with a bucket
that is there, and has a prefix of its own."""

import errno
import time

from daemon import check
from objects import Objects, body_hash

BUCKET = "belay-test"
MIB = 1 << 20
PART_BYTES = 5 * MIB
LARGE = 2 * PART_BYTES + 12345 # Three parts.
LONG_AGO_S = 3600
PRINTABLE = "".join(map(chr, range(ord(" "), ord("~") + 1)))


def expect(answer, rc=0):
    """`rc` is that errno, as a positive number."""
    check(answer["rc"] == -rc, f"{errno.errorcode.get(-answer['rc'])}, not {errno.errorcode.get(rc)}: {answer}")
    check(answer["text"] if rc else not answer["text"], answer)
    return answer


def expect_object(objects, name, size, seed):
    answer = expect(objects.get(name))
    check((answer["size"], answer["body"], answer["sha256"]) == (size, size, body_hash(size, seed)), answer)


def options(server, prefix, **more):
    """With much time: the machine may be slow."""
    return server.options(**{"bucket": BUCKET, "prefix": prefix, "try_ms": 60 * 1000, "call_ms": 300 * 1000, **more})


def check_objects(server):
    with Objects(options(server, "objects/")) as objects:
        expect(objects.put("one", 1000, 1, only_new=True))
        expect_object(objects, "one", 1000, 1)
        expect(objects.put("one", 1000, 1, only_new=True)) # The same again.
        expect(objects.put("one", 1000, 2, only_new=True), errno.EEXIST)
        expect(objects.put("one", 999, 1, only_new=True), errno.EEXIST)
        expect_object(objects, "one", 1000, 1)
        expect(objects.put("one", 500, 3))
        expect_object(objects, "one", 500, 3)
        expect(objects.put("empty", 0, 0, only_new=True))
        expect_object(objects, "empty", 0, 0)
        expect(objects.get("one", bytes_max=499), errno.EFBIG)
        expect(objects.get("none"), errno.ENOENT)
        for _ in range(2):
            expect(objects.remove("one"))
        expect(objects.get("one"), errno.ENOENT)
        expect(objects.put("", 1, 1), errno.EINVAL)
    with Objects(options(server, "")) as objects:
        check("objects/empty" in objects.names(), "names without a prefix")


def check_parts_of_objects(server):
    with Objects(options(server, "ranges/")) as objects:
        expect(objects.put("one", 1000, 0))
        for offset, size, got in ((0, 10, 10), (500, 100, 100), (990, 100, 10), (999, 1, 1), (1000, 10, 0), (5000, 10, 0)):
            answer = expect(objects.get_part("one", offset, size))
            check(answer["body"] == got and answer["sha256"] == body_hash(got, offset), (offset, size, answer))
            check(answer["size"] == (1000 if got else 0), answer)
        expect(objects.get_part("none", 0, 10), errno.ENOENT)


def check_names(server):
    names = [PRINTABLE, "a b", "a%20b", "a+b", "k=v:w", "x" * 512, "dir/of/it", "&<>\"'"]
    with Objects(options(server, "names/")) as objects:
        for seed, name in enumerate(names):
            expect(objects.put(name, 10, seed, only_new=True))
        for seed, name in enumerate(names):
            expect_object(objects, name, 10, seed)
        check(objects.names() == sorted(names), objects.names())
        check(objects.names("a") == ["a b", "a%20b", "a+b"], "names that begin so")
        for name in names:
            expect(objects.remove(name))
        check(objects.names() == [], objects.names())


def check_lists(server, count):
    """Names in order, however many, from any on."""
    names = [f"{number:06}" for number in range(count)]
    with Objects(options(server, "lists/", parallel=32)) as objects:
        for call in [objects.begin("put", name=name, size=number % 7, seed=0) for number, name in enumerate(names)]:
            expect(objects.wait(call))
        check(objects.names() == names, "all names")
        answer = expect(objects.list("", names[-3]))
        check(answer["names"] == [[name, int(name) % 7] for name in names[-2:]] and not answer["more"], answer)
        answer = expect(objects.list("00000", "000003x"))
        check([name for name, _ in answer["names"]] == names[4:10], answer)
        check(expect(objects.list("none"))["names"] == [], "nothing has such a name")


def check_lost_answers(server, proxy):
    """A PUT of which nobody knows whether it was done is decided by what is there."""
    with Objects(options(server.through(proxy.address), "lost/")) as objects:
        expect(objects.put("first", 1, 1, only_new=True)) # Now it knows whether the server has conditions.
        for kind, done in (("lose_answer", True), ("late_error", True), ("refuse_body", False), ("error", False)):
            fault = proxy.add(kind, "PUT", f"lost/{kind}")
            expect(objects.put(kind, 3000, 1, only_new=True))
            asked = proxy.methods(f"lost/{kind}")
            told = ["PUT", "GET"] + ([] if done else ["PUT"])
            # On a connection that was used before libcurl may send it again itself: the server's condition decides.
            again = ["PUT", "PUT"] + (["GET"] if done else [])
            check(fault.came == 1 and asked[asked.index("PUT"):] in (told, again), asked)
            expect_object(objects, kind, 3000, 1)
            fault = proxy.add(kind, "PUT", f"lost/{kind}") # One that may be replaced is written again.
            expect(objects.put(kind, 3000, 2))
            check(fault.came == 1, "the fault came")
            expect_object(objects, kind, 3000, 2)


def check_refused(server):
    """What trying again does not help, which is told at once, and what to do."""
    wrong = {"secret_key": "no" + server.secret_key}, {"access_key": "no" + server.access_key}
    cases = [(more, errno.EACCES, "credentials") for more in wrong]
    cases += [({"clock_offset_s": offset}, errno.ETIME, "time service") for offset in (-LONG_AGO_S, LONG_AGO_S)]
    cases.append(({"bucket": "belay-none"}, errno.ENXIO, "bucket"))
    for more, rc, text in cases:
        with Objects({**options(server, "refused/"), **more}) as objects:
            for answer in (objects.put("one", 10, 1, only_new=True), objects.put("one", 10, 1), objects.get("one"),
                           objects.list(""), objects.remove("one"), objects.tidy("", time.time())):
                check(text in expect(answer, rc)["text"], answer)
            check(objects.tries_again() == 0, "tried again")
    with Objects(options(server, "refused/")) as objects:
        check(objects.names() == [], "nothing was done")


END_FAULTS = (("lose_answer", "POST", "uploadId"), ("late_gone", "POST", "uploadId"), ("late_error", "POST", "uploadId"),
              ("error", "POST", "uploadId"))
PART_FAULTS = (("lose_answer", "PUT", "partNumber=2"), ("error", "PUT", "partNumber=3"),
               ("refuse_body", "PUT", "partNumber=1"))


def check_large(server, proxy, faults):
    """An object in parts, whatever happens to one of its requests."""
    for kind, method, part in faults:
        fault = proxy.add(kind, method, part)
        with Objects(options(server.through(proxy.address), "large/", part_bytes=PART_BYTES)) as objects:
            expect(objects.put("one", LARGE, 1))
            expect_object(objects, "one", LARGE, 1)
            expect(objects.remove("one"))
        check(fault.came == 1, (kind, method, part))
        check(server.uploads(BUCKET) == [], (kind, method, part))


def check_tidy(server, proxy):
    """Uploads that nobody ends go, once they are old enough."""
    def later():
        return time.time() + LONG_AGO_S # The store's clock is ours.

    through = server.through(proxy.address)
    with Objects(options(server, "tidy/")) as objects:
        check(expect(objects.tidy("", later()))["names"] == [], "there is nothing")
        # The client died.
        with Objects(options(through, "tidy/", part_bytes=PART_BYTES)) as dying:
            fault = proxy.add("hang", "PUT", "partNumber=2")
            dying.begin("put", name="died", size=LARGE, seed=1)
            proxy.wait_for(fault)
            dying.kill()
        # It failed, and could not clean up; it could the next time.
        with Objects(options(through, "tidy/", part_bytes=PART_BYTES)) as failing:
            faults = [proxy.add("forbid", "PUT", "partNumber=2", times=2), proxy.add("error", "DELETE", "tidy/failed")]
            expect(failing.put("failed", LARGE, 1), errno.EACCES)
            expect(failing.put("cleaned", LARGE, 1), errno.EACCES)
            check([fault.came for fault in faults] == [2, 1], "the faults came")
        # It does not know that it began.
        with Objects(options(through, "tidy/", part_bytes=PART_BYTES)) as twice:
            proxy.add("lose_answer", "POST", "uploads")
            expect(twice.put("lost", LARGE, 1))
            expect_object(twice, "lost", LARGE, 1)
        left = [f"tidy/{name}" for name in ("died", "failed", "lost")]
        check(sorted(server.uploads(BUCKET)) == left, server.uploads(BUCKET))
        check(expect(objects.tidy("", time.time() - LONG_AGO_S))["names"] == [], "they are too young")
        check(expect(objects.tidy("other", later()))["names"] == [], "they have other names")
        answer = expect(objects.tidy("lo", later()))
        check(answer["names"] == [["lost", 0]] and not answer["more"], answer)
        answer = expect(objects.tidy("", later()))
        check(answer["names"] == [["died", 0], ["failed", 0]] and not answer["more"], answer)
        check(server.uploads(BUCKET) == [], "none is left")
        check(objects.names() == ["lost"], objects.names())
