"""Histories of jepsen/: what is written can be read again, is what Jepsen's checkers want, and is refused where it is
not."""

import os
import random
import subprocess
import tempfile
import threading
from types import SimpleNamespace

import tree
from cases import run_cases
from daemon import check
from rig import edn, history
from rig.nemesis import Partition

RUN = tree.TOP / "jepsen/run"


def refused(action, *arguments):
    try:
        action(*arguments)
    except ValueError:
        return
    check(False, f"{arguments} was taken")


def test_edn():
    for value, text in ((None, "nil"), (True, "true"), (-7, "-7"), (1.5, "1.5"), (edn.Keyword("ok"), ":ok"),
                        ('a "b"\\\n', '"a \\"b\\"\\\\\\n"'), ([1, [2, None]], "[1 [2 nil]]"), ({3, 1}, "#{1 3}"),
                        ({edn.Keyword("f"): edn.Keyword("add"), 1: []}, "{:f :add, 1 []}"), ([], "[]")):
        check(edn.write(value) == text, (edn.write(value), text))
        again = edn.read(text)
        check(again == value and type(again) is type(value), (again, value))
    for wrong in ("", "[1", "1]", "{:a}", "[1)", '"open', "1 2", ":", "word"):
        refused(edn.read, wrong)


def written(directory, *calls):
    path = os.path.join(directory, "history.edn")
    made = history.History(path)
    for kind, process, f, value, more in calls:
        made.add(kind, process, f, value, **more)
    made.close()
    return path


def test_what_is_written_is_read():
    with tempfile.TemporaryDirectory() as directory:
        path = written(directory, ("invoke", 0, "add", [1, 5], {"ack": "disk", "node": "n1"}),
                       ("info", "nemesis", "kill", ["n1"], {}), ("ok", 0, "add", [1, 5], {"level": "disk"}),
                       ("invoke", 1, "read", [1, None], {"final": True}), ("ok", 1, "read", [1, {5}], {"final": True}))
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        check(lines[0].startswith("{:index 0, :time ") and lines[0].endswith(
            ':type :invoke, :process 0, :f :add, :value [1 5], :ack :disk, :node "n1"}'), lines[0])
        check(':type :info, :process :nemesis, :f :kill, :value ["n1"]' in lines[1], lines[1])
        check(":type :ok, :process 1, :f :read, :value [1 #{5}]" in lines[4], lines[4])
        found = history.read(path)
        check([operation["index"] for operation in found] == [0, 1, 2, 3, 4], found)
        check(found[4]["value"] == [1, {5}] and found[1]["process"] == history.NEMESIS, found)
        check([(one["f"], other["type"]) for one, other in history.pairs(found)] == [("add", "ok"), ("read", "ok")],
              found)
        done = subprocess.run([RUN, "--workload", "set", "--check", path], capture_output=True, text=True, check=False)
        check(done.returncode == 0 and ":valid? true" in done.stdout, done)


def test_a_history_that_cannot_be_is_refused():
    add = ("add", [1, 1], {})
    with tempfile.TemporaryDirectory() as directory:
        for calls in ([("ok", 0, *add)],                                                   # Not asked.
                      [("invoke", 0, *add), ("invoke", 0, *add)],                          # Two in flight.
                      [("invoke", 0, *add), ("info", 0, *add), ("invoke", 0, *add)],       # It came back.
                      [("invoke", 0, *add), ("ok", 0, "read", [1, 1], {})],                # Another answer.
                      [("invoke", "nemesis", *add)], [("invoke", "other", *add)], [("maybe", 0, *add)]):
            refused(history.read, written(directory, *calls))
    one = {"index": 0, "time": 5, "type": "invoke", "process": 0, "f": "add", "value": [1, 1]}
    refused(history.check_form, [{**one, "index": 1}])
    refused(history.check_form, [one, {**one, "index": 1, "type": "ok", "time": 4}])


def test_many_threads_write_one_history():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "history.edn")
        made = history.History(path)

        def work(process):
            for number in range(200):
                made.add("invoke", process, "add", [process, number])
                made.add("ok", process, "add", [process, number])
        threads = [threading.Thread(target=work, args=(process,)) for process in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made.close()
        check(len(history.read(path)) == 8 * 200 * 2 and made.acked == 1600, "all of them, in a good order")


def test_a_partition_cuts_something():
    for count in (2, 3, 4, 5):
        names = [f"n{number}" for number in range(count)]
        for seed in range(50):
            cuts = []
            nemesis = Partition([SimpleNamespace(name=name) for name in names], SimpleNamespace(cut=cuts.append),
                                random.Random(seed))
            what, pairs = nemesis.begin()
            check(cuts and cuts[0] and len(pairs) == len(cuts[0]), (count, seed, what))


def test_usage():
    for words in ([], ["--workload", "nonsense"], ["--workload", "set", "--nemesis", "rain"],
                  ["--workload", "set", "--nodes", "0"], ["--workload", "set", "--nodes", "1", "--nemesis", "wipe"]):
        done = subprocess.run([RUN, *words], capture_output=True, text=True, check=False)
        check(done.returncode == 2 and "usage" in done.stderr, done)
    help_text = subprocess.run([RUN, "--help"], capture_output=True, text=True, check=True).stdout
    manual = (tree.TOP / "jepsen/README.md").read_text(encoding="utf-8")
    for word in ("--workload", "--nemesis", "--time-limit", "--seed", "--nodes"):
        check(word in help_text and word in manual, word)


if __name__ == "__main__":
    run_cases(__name__)
