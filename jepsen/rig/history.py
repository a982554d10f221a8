"""What clients asked and were told, and what was broken meanwhile: in the form that Jepsen's checkers read.

One map of EDN per line:

    {:index 0, :time 1042311, :type :invoke, :process 3, :f :add, :value [7 4000012], :node "n2", :ack :disk}

`:index` counts from 0 without a gap, `:time` is ns of a monotonic clock since the history began. `:type` is :invoke,
then :ok (it happened), :fail (it certainly did not) or :info (nobody knows): a process of which an operation ended in
:info is never seen again, as the operation may still take effect. A process has one operation in flight. What breaks
things is :process :nemesis, and all of it is :info. Values belong to keys: [k v].

In Python an operation is a dictionary with plain names; `type`, `process` of the nemesis, `f` and `ack` are keywords.
"""

import threading
import time

from . import edn

KEYWORDS = ("type", "f", "ack", "level")
TYPES = ("invoke", "ok", "fail", "info")
NEMESIS = "nemesis"


class History:
    """Being written. Any thread may add to it."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.began_ns = time.monotonic_ns()
        self.file = open(path, "w", encoding="utf-8", buffering=1)  # pylint: disable=consider-using-with
        self.count = 0
        self.acked = 0

    def add(self, kind, process, f, value, **more):
        """One line. `more` are further keys; those that are None are left out."""
        words = {name: each for name, each in more.items() if each is not None}
        with self.lock:
            operation = {"index": self.count, "time": time.monotonic_ns() - self.began_ns, "type": kind,
                         "process": process, "f": f, "value": value, **words}
            self.file.write(line_of(operation) + "\n")
            self.count += 1
            self.acked += kind == "ok"

    def nemesis(self, f, value=None):
        self.add("info", NEMESIS, f, value)

    def close(self):
        self.file.close()


def line_of(operation):
    def form(name, value):
        is_keyword = name in KEYWORDS or (name == "process" and value == NEMESIS)
        return edn.Keyword(value) if is_keyword else value
    return edn.write({edn.Keyword(name): form(name, value) for name, value in operation.items()})


def read(path):
    """All operations of a file. Raises ValueError where it is not such a history."""
    with open(path, encoding="utf-8") as file:
        operations = [{str(name): value for name, value in edn.read(line).items()} for line in file if line.strip()]
    check_form(operations)
    return operations


def check_form(operations):
    """Everything that the head of this file promises. Raises ValueError."""
    in_flight, gone, before = {}, set(), -1
    for index, operation in enumerate(operations):
        where = f"operation {index}: {line_of(operation)}"
        if operation["index"] != index or operation["time"] < before or operation["type"] not in TYPES:
            raise ValueError(f"index, time or type is wrong: {where}")
        before = operation["time"]
        process = operation["process"]
        if process == NEMESIS:
            if operation["type"] != "info":
                raise ValueError(f"a nemesis only informs: {where}")
            continue
        if not isinstance(process, int) or process in gone:
            raise ValueError(f"that process cannot be here: {where}")
        if operation["type"] == "invoke":
            if process in in_flight:
                raise ValueError(f"two operations of one process at once: {where}")
            in_flight[process] = operation
            continue
        invoked = in_flight.pop(process, None)
        if invoked is None or invoked["f"] != operation["f"]:
            raise ValueError(f"nothing was asked that this answers: {where}")
        if operation["type"] == "info":
            gone.add(process)


def pairs(operations):
    """(invocation, completion) of clients, in the order in which they were asked; completion is None where there is
    none, which means what :info means."""
    in_flight, found = {}, []
    for operation in operations:
        process = operation["process"]
        if process == NEMESIS:
            continue
        if operation["type"] == "invoke":
            in_flight[process] = len(found)
            found.append([operation, None])
        else:
            found[in_flight.pop(process)][1] = operation
    return found
