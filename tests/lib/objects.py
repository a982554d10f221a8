"""The archive's object store as a test uses it: the program object_calls, which makes the calls that it is told.

    with Objects(server.options(prefix="p/")) as objects:
        assert objects.put("a", 5, seed=7)["rc"] == 0
        call = objects.begin("get", name="a", bytes_max=10)
        assert objects.wait(call)["sha256"] == body_hash(5, 7)

An object's bytes are told by their number and a seed.
"""

import hashlib
import json
import os
import select
import subprocess
import time

from daemon import SLOWNESS, check, program

SEED_CYCLE = 251
ANSWER_TIMEOUT_S = 120 * SLOWNESS


def body(size, seed):
    cycle = bytes((seed + i) % SEED_CYCLE for i in range(SEED_CYCLE))
    return (cycle * (size // SEED_CYCLE + 1))[:size]


def body_hash(size, seed):
    return hashlib.sha256(body(size, seed)).hexdigest()


class Objects:
    def __init__(self, options):
        self.process = subprocess.Popen(
            [program("tests/integration/object_calls"), *(f"{name}={value}" for name, value in options.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.last = 0
        self.kept = b""
        self.answers = {}

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is None:
            self.close()
        else:
            self.kill()

    def close(self):
        """The store is destroyed; what was under way ends with ECANCELED, which stays to be asked with wait()."""
        if self.process is not None:
            self.process.stdin.close()
            while self._read_more():
                pass
            code = self.process.wait()
            self.process.stdout.close()
            self.process = None
            check(code == 0, f"object_calls: exit {code}")

    def kill(self):
        """The process dies."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def begin(self, op, **arguments):
        """Returns its number, for wait()."""
        self.last += 1
        line = json.dumps({"id": self.last, "op": op, **arguments})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.last

    def _read_more(self):
        readable, _, _ = select.select([self.process.stdout], [], [], ANSWER_TIMEOUT_S)
        check(readable, "object_calls says nothing")
        more = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.kept = (self.kept + more).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            self.answers[answer["id"]] = answer
        return more

    def wait(self, call):
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while call not in self.answers:
            check(self._read_more(), "object_calls ended")
            check(time.monotonic() < end, f"call {call} does not end")
        return self.answers.pop(call)

    def call(self, op, **arguments):
        return self.wait(self.begin(op, **arguments))

    def put(self, name, size, seed, only_new=False, **more):
        return self.call("put", name=name, size=size, seed=seed, only_new=only_new, **more)

    def get(self, name, bytes_max=1 << 26):
        return self.call("get", name=name, bytes_max=bytes_max)

    def get_part(self, name, offset, size):
        return self.call("get", name=name, offset=offset, bytes_max=size, part=True)

    def list(self, prefix, after=None):
        return self.call("list", name=prefix, **({} if after is None else {"after": after}))

    def names(self, prefix=""):
        """All of them, however many answers that takes."""
        names, after = [], None
        while True:
            answer = self.list(prefix, after)
            check(answer["rc"] == 0, answer)
            names += [name for name, _ in answer["names"]]
            if not answer["more"]:
                return names
            after = names[-1]

    def remove(self, name):
        return self.call("remove", name=name)

    def tidy(self, prefix, before_s):
        return self.call("tidy", name=prefix, before_ms=int(before_s * 1000))

    def tries_again(self):
        return self.call("stats")["tries_again"]
