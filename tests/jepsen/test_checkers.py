"""The checkers of jepsen/: each finds the bug that is planted in a good history, and none passes on nothing."""

import copy

from cases import run_cases
from daemon import check
from rig.checkers import CHECKERS
from rig.history import check_form


class Made:
    """A history written by hand. Each operation takes a millisecond unless told otherwise."""

    def __init__(self):
        self.operations = []
        self.time = 0

    def add(self, kind, process, f, value, **more):
        self.time += 10_000_000
        self.operations.append({"index": len(self.operations), "time": self.time, "type": kind, "process": process,
                                "f": f, "value": value, **more})
        return self

    def did(self, process, f, value, answer=None, level="replica", kind="ok", **more):
        self.add("invoke", process, f, value, **more)
        return self.add(kind, process, f, answer if answer is not None else value, level=level, **more)

    def read(self, key, value, node="n1", process=90, final=True):
        self.add("invoke", process, "read", [key, None], final=final, node=node)
        return self.add("ok", process, "read", [key, value], final=final, node=node)

    def wipe(self):
        return self.add("info", "nemesis", "wipe", None).add("info", "nemesis", "wiped", ["n1"])


def judge(name, made):
    check_form(made.operations)
    return CHECKERS[name](made.operations)


def good(name, made):
    result = judge(name, made)
    check(result.valid, result.document())
    return result


def bad(name, made, *words):
    result = judge(name, made)
    check(not result.valid, "the checker let it pass")
    for word in words:
        check(any(word in problem for problem in result.problems), (word, result.problems))
    return result


def test_nothing_is_never_good():
    for name in CHECKERS:
        bad(name, Made())
        bad(name, Made().read(1, None))
    bad("set", Made().did(0, "add", [1, 5]), "nothing was read")
    bad("fields", Made().did(0, "write", [1, [0, 5]]), "nothing was read")
    bad("counter", Made().did(0, "add", [1, 1]), "nothing was read")
    bad("delete", Made().did(0, "create", [1, 1]).did(0, "delete", [1, None], [1, 1]), "nothing was read")
    # Something was read, but not what was written, or not on every node.
    bad("set", Made().did(0, "add", [1, 5]).read(2, set()), "key 1 was not read")
    bad("counter", Made().did(0, "add", [1, 1]).did(0, "add", [2, 1]).read(1, 1).read(2, 1).read(1, 1, node="n2"),
        "key 2 was not read")
    # Reads in between are no reads at the end; refused and unknown writes are no acknowledged ones.
    bad("set", Made().did(0, "add", [1, 5]).read(1, {5}, final=None), "nothing was read")
    for kind in ("fail", "info"):
        bad("set", Made().did(0, "add", [1, 5], kind=kind).read(1, set()), "no add")
        bad("counter", Made().did(0, "add", [1, 1], kind=kind).read(1, 0), "no add")
        bad("fields", Made().did(0, "write", [1, [0, 1]], kind=kind).read(1, {}), "no write")
        bad("delete", Made().did(0, "create", [1, 1]).did(1, "delete", [1, None], kind=kind).read(1, 1), "no delete")


def test_set():
    good("set", Made().did(0, "add", [1, 5]).read(1, {5}))
    result = bad("set", Made().did(0, "add", [1, 5]).did(0, "add", [1, 6]).read(1, {5}), "lost 6")
    check(result.counts["lost-replica"] == 1 and result.counts["acked-replica"] == 2, result.counts)
    bad("set", Made().did(0, "add", [1, 5]).read(1, {5}).read(1, set(), node="n2"), "lost 5", "n2")
    bad("set", Made().did(0, "add", [1, 5]).read(1, {5, 6}), "was not added")
    bad("set", Made().did(0, "add", [1, 5]).did(1, "add", [1, 6], kind="fail").read(1, {5, 6}), "was not added")
    for seen in ({5}, {5, 6}):
        good("set", Made().did(0, "add", [1, 5]).did(1, "add", [1, 6], kind="info").read(1, seen))


def test_what_a_level_covers():
    for level in ("memory", "disk", "default"):
        lost = Made().did(0, "add", [1, 5], level=level).wipe().did(0, "add", [1, 6]).read(1, {6})
        check(good("set", lost).counts[f"lost-{level}"] == 1, "it is counted all the same")
        bad("set", Made().did(0, "add", [1, 5], level=level).read(1, set()), "lost 5")
        bad("set", Made().wipe().did(0, "add", [1, 5], level=level).read(1, set()), "lost 5")
    bad("set", Made().did(0, "add", [1, 5], level="replica").wipe().read(1, set()), "lost 5")
    good("counter", Made().did(0, "add", [1, 1], level="memory").wipe().did(0, "add", [1, 1]).read(1, 1))
    bad("counter", Made().did(0, "add", [1, 1], level="replica").wipe().did(0, "add", [1, 1]).read(1, 1), "is 1")
    good("fields", Made().did(0, "write", [1, [0, 5]]).did(0, "write", [1, [0, 6]], level="memory").wipe()
         .read(1, {0: 5}))
    bad("fields", Made().did(0, "write", [1, [0, 5]]).did(0, "write", [1, [0, 6]]).wipe().read(1, {0: 5}), "is 5")
    ended = Made().did(0, "create", [1, 1]).did(1, "delete", [1, None], [1, 1]).did(0, "create", [2, 1])
    good("delete", ended.did(1, "delete", [2, None], [2, 1], level="memory").wipe().read(1, None).read(2, 1))


def test_fields():
    good("fields", Made().did(0, "write", [1, [0, 5]]).did(1, "write", [1, [1, 7]]).read(1, {0: 5, 1: 7}))
    bad("fields", Made().did(0, "write", [1, [0, 5]]).did(1, "write", [1, [1, 7]]).read(1, {1: 7}), "field 0")
    bad("fields", Made().did(0, "write", [1, [0, 5]]).did(0, "write", [1, [0, 6]]).read(1, {0: 5}), "is 5")
    bad("fields", Made().did(0, "write", [1, [0, 5]]).read(1, {0: 5, 3: 9}), "was not written")
    bad("fields", Made().did(0, "write", [1, [0, 5]]).read(1, None), "is None")
    for seen in (5, 6):
        good("fields", Made().did(0, "write", [1, [0, 5]]).did(0, "write", [1, [0, 6]], kind="info").read(1, {0: seen}))
    bad("fields", Made().did(0, "write", [1, [0, 4]]).did(0, "write", [1, [0, 5]])
        .did(0, "write", [1, [0, 6]], kind="info").read(1, {0: 4}), "is 4")


def test_counter():
    good("counter", Made().did(0, "add", [1, 1]).did(1, "add", [1, 1]).read(1, 2))
    bad("counter", Made().did(0, "add", [1, 1]).did(1, "add", [1, 1]).read(1, 1), "acknowledged were 2")
    bad("counter", Made().did(0, "add", [1, 1]).read(1, 2), "never more than 1")
    bad("counter", Made().did(0, "add", [1, 1]).did(1, "add", [1, 1], kind="fail").read(1, 2), "never more than 1")
    bad("counter", Made().did(0, "add", [1, 1]).read(1, 2, final=None).read(1, 1), "never more")
    for seen in (1, 2):
        good("counter", Made().did(0, "add", [1, 1]).did(1, "add", [1, 1], kind="info").read(1, seen))
    bad("counter", Made().did(0, "add", [1, 1]).did(1, "add", [1, 1], kind="info").read(1, 3), "never more")


def life():
    return Made().did(0, "create", [1, 1]).did(1, "delete", [1, None], [1, 1])


def test_delete():
    good("delete", life().read(1, None))
    bad("delete", life().read(1, 1), "came back")
    bad("delete", life().read(1, None).read(1, 1, node="n2"), "came back", "n2")
    bad("delete", life().read(1, -1), "was not created")
    good("delete", life().did(0, "create", [1, 2]).read(1, 2))
    bad("delete", life().did(0, "create", [1, 2]).read(1, 1), "came back")
    bad("delete", life().did(0, "create", [1, 2]).read(1, None), "acknowledged and not deleted")
    # A delete that found nothing ended nothing; one that nobody knows of may have ended it, or not.
    good("delete", life().did(0, "create", [1, 2]).did(1, "delete", [1, None], [1, 0]).read(1, 2))
    for seen in (None, 2):
        good("delete", life().did(0, "create", [1, 2]).did(1, "delete", [1, None], kind="info").read(1, seen))
    # A create that ran beside the delete may be older or younger than it.
    beside = life().add("invoke", 0, "create", [1, 2]).did(1, "delete", [1, None], [1, 1])
    beside.add("ok", 0, "create", [1, 2], level="replica")
    for seen in (None, 2):
        good("delete", copy.deepcopy(beside).read(1, seen))
    bad("delete", life().did(0, "create", [1, 2], kind="fail").read(1, 2), "was not created")


if __name__ == "__main__":
    run_cases(__name__)
