"""What a history must hold to be a good one: for each workload a function from operations to a Result.

They judge the state at the end, once everything is healed and every node has been asked (reads with `:final true`),
and what no read may ever show. During a partition an older state is no fault in mode `available`.

A level covers what the design says: all levels cover what kills, pauses and cuts do, as memory outlives a process.
Where a node's disk was wiped, what had not reached `replica` by then may be gone with it. A level that no answer
told (RESP) counts as the least.

A checker that found nothing to judge says so and fails: nothing acknowledged, nothing read at the end.
"""

from collections import Counter, defaultdict

from .history import NEMESIS, pairs

SHOWN_MAX = 10
SAFE_FROM_WIPE = ("replica", "archive")
TIE_NS = 5_000_000 # Two stamps of one millisecond on two nodes have no order that a clock tells.


class Result:
    def __init__(self):
        self.problems = []
        self.counts = Counter()

    @property
    def valid(self):
        return not self.problems

    def wrong(self, what):
        self.counts["problems"] += 1
        if len(self.problems) < SHOWN_MAX:
            self.problems.append(what)

    def document(self):
        return {"valid?": self.valid, "counts": dict(self.counts), "problems": list(self.problems)}


class Story:
    """A history, sorted: who asked what, what came of it, the reads at the end."""

    def __init__(self, operations):
        self.pairs = pairs(operations)
        self.wiped_at = max((operation["index"] for operation in operations
                             if operation["process"] == NEMESIS and operation["f"] == "wiped"), default=-1)

    def of(self, f, *types):
        """(invocation, completion) of one function, of those types; "info" has those without completion too."""
        for invoked, completed in self.pairs:
            if invoked["f"] == f and (completed["type"] if completed else "info") in types:
                yield invoked, completed

    def finals(self, result, wanted):
        """{key: [(node, value)]} of the reads at the end. Every key wanted must have been read on every node that
        answered any."""
        found = defaultdict(list)
        for invoked, completed in self.of("read", "ok"):
            if invoked.get("final"):
                key, value = completed["value"]
                found[key].append((completed.get("node"), value))
        nodes = {node for reads in found.values() for node, _ in reads}
        result.counts["final-reads"] = sum(map(len, found.values()))
        if not found:
            result.wrong("nothing was read at the end")
        for key in wanted:
            unread = nodes - {node for node, _ in found[key]}
            if found and unread:
                result.wrong(f"key {key} was not read at the end on {sorted(map(str, unread))}")
        return found

    def is_covered(self, invoked, completed):
        """Must what this answer acknowledged be there at the end?"""
        return invoked["index"] > self.wiped_at or completed.get("level", "default") in SAFE_FROM_WIPE


def count_acked(story, result, f):
    """Count what was acknowledged at which level; that there is something is asserted."""
    for _, completed in story.of(f, "ok"):
        result.counts[f"acked-{completed.get('level', 'default')}"] += 1
        result.counts["acked"] += 1
    result.counts["unknown"] += sum(1 for _ in story.of(f, "info"))
    if not result.counts["acked"]:
        result.wrong(f"no {f} was acknowledged")


def check_set(operations):
    """No element is lost whose addition was acknowledged, none is there that nobody added."""
    story, result = Story(operations), Result()
    count_acked(story, result, "add")
    acked, possible = defaultdict(dict), defaultdict(set)
    for invoked, completed in story.of("add", "ok", "info"):
        key, element = invoked["value"]
        possible[key].add(element)
        if completed and completed["type"] == "ok":
            acked[key][element] = (story.is_covered(invoked, completed), completed.get("level", "default"))
    finals = story.finals(result, acked)
    for key, reads in finals.items():
        for node, value in reads:
            present = set(value or ())
            for element in sorted(present - possible[key]):
                result.wrong(f"key {key} has {element}, which was not added (on {node})")
            for element, (covered, level) in acked[key].items():
                if element not in present:
                    result.counts[f"lost-{level}"] += 1
                    if covered:
                        result.wrong(f"key {key} lost {element}, acknowledged at {level} (on {node})")
    return result


def check_fields(operations):
    """Each field of a session has one writer: at the end its last acknowledged value is there, or one of which nobody
    knows whether it was written. So no writer of another field took it away."""
    story, result = Story(operations), Result()
    count_acked(story, result, "write")
    possible, last, written = defaultdict(set), {}, defaultdict(set)
    for invoked, completed in story.of("write", "ok", "info"):
        key, (field, value) = invoked["value"]
        written[key, field].add(value)
        if completed is None or completed["type"] == "info":
            possible[key, field].add(value)
        elif story.is_covered(invoked, completed):
            last[key, field] = value
            possible[key, field] = {value} | {other for other in possible[key, field] if other > value}
        else:
            possible[key, field].add(value)
    for _, completed in story.of("read", "ok"):
        key, value = completed["value"]
        for field, seen in (value or {}).items():
            if seen not in written[key, field]:
                result.wrong(f"field {field} of key {key} read as {seen}, which was not written")
    result.counts["fields"] = len(last)
    for key, reads in story.finals(result, {key for key, _ in last}).items():
        for node, value in reads:
            for (of, field), wanted in last.items():
                seen = (value or {}).get(field)
                if of == key and seen not in possible[of, field]:
                    result.wrong(f"field {field} of key {key} is {seen}, acknowledged was {wanted} (on {node})")
    return result


def check_counter(operations):
    """Each acknowledged addition counts once, each unknown one once or not at all."""
    story, result = Story(operations), Result()
    count_acked(story, result, "add")
    least, most = Counter(), Counter()
    for invoked, completed in story.of("add", "ok", "info"):
        key, delta = invoked["value"]
        most[key] += delta
        if completed and completed["type"] == "ok" and story.is_covered(invoked, completed):
            least[key] += delta
    for _, completed in story.of("read", "ok"):
        key, value = completed["value"]
        if (value or 0) > most[key]:
            result.wrong(f"key {key} read as {value}, and never more than {most[key]} was added")
    for key, reads in story.finals(result, least).items():
        for node, value in reads:
            if (value or 0) < least[key]:
                result.wrong(f"key {key} is {value}, acknowledged were {least[key]} (on {node})")
    return result


def check_delete(operations):
    """Every life of a session has a number. One whose creation was acknowledged before a delete began that was
    acknowledged as having ended something is over: it is not there at the end, nor is a part of it. The newest life
    that nobody may have ended is there."""
    story, result = Story(operations), Result()
    count_acked(story, result, "delete")
    created = defaultdict(dict)
    for invoked, completed in story.of("create", "ok", "info"):
        key, life = invoked["value"]
        created[key][life] = (invoked, completed if completed and completed["type"] == "ok" else None)
    result.counts["lives"] = sum(map(len, created.values()))
    if not created:
        result.wrong("no create was acknowledged")
    over = _lives_over(story, created)
    result.counts["ended"] = sum(map(len, over.values()))
    if not result.counts["ended"]:
        result.wrong("no delete ended anything")
    for key, reads in story.finals(result, created).items():
        present = _newest_certain(story, key, created[key])
        for node, value in reads:
            if value is not None and value not in created[key]:
                result.wrong(f"key {key} is {value!r}, which was not created (on {node})")
            elif value in over[key]:
                result.wrong(f"life {value} of key {key} came back after its delete (on {node})")
            if present is not None and (value is None or value < present):
                result.wrong(f"key {key} is {value}, life {present} was acknowledged and not deleted (on {node})")
    return result


def _lives_over(story, created):
    over = defaultdict(set)
    for invoked, completed in story.of("delete", "ok"):
        key = invoked["value"][0]
        if completed["value"][1] and story.is_covered(invoked, completed):
            over[key] |= {life for life, (_, ended) in created[key].items()
                          if ended is not None and ended["time"] + TIE_NS < invoked["time"]}
    return over


def _newest_certain(story, key, lives):
    """The highest life that was acknowledged, where no delete may have ended it."""
    certain = [life for life, (invoked, ended) in lives.items()
               if ended is not None and story.is_covered(invoked, ended)]
    if not certain:
        return None
    newest = max(certain)
    began = lives[newest][0]["time"]
    for invoked, completed in story.of("delete", "ok", "info"):
        is_over_before = completed is not None and completed["type"] == "ok" and completed["time"] + TIE_NS < began
        if invoked["value"][0] == key and not is_over_before:
            return None
    return newest


CHECKERS = {"set": check_set, "fields": check_fields, "counter": check_counter, "delete": check_delete}
