"""Where the archives of tools/bench/archive lie, what is done with them, and what is written to them: Ceph's gateway on
loopback, or a directory, under one name."""

import json
import os
import random
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path

from measure import LOAD_CORE

from ceph import Ceph # In tests/lib, which measure.py has made known.
from daemon import check, cpu_seconds_of, wait_for
from objects import Objects

BUCKET = "bench"
PUT_BYTES, PUT_PAUSE_S = 64 * 1024, 0.1
PATIENCE_S = 900
LOWEST_PRIORITY = 19


class Gateway:
    """Ceph's. Programs that are started know how to get there from the environment."""

    def __enter__(self):
        self.ceph = Ceph()
        self.ceph.__enter__()
        try:
            self.ceph.make_bucket(BUCKET)
        except BaseException:
            self.ceph.__exit__(None, None, None)
            raise
        os.environ.update({"AWS_ENDPOINT_URL": f"http://{self.ceph.address}", "AWS_ACCESS_KEY_ID": self.ceph.access_key,
                           "AWS_SECRET_ACCESS_KEY": self.ceph.secret_key})
        return self

    def __exit__(self, *failure):
        self.ceph.__exit__(*failure)

    def url(self, name):
        return f"s3://{BUCKET}/{name}"

    def objects(self, name):
        """For objects of our own beside."""
        return Objects(self.ceph.options(bucket=BUCKET, prefix=f"{name}/"))

    def busy_seconds(self):
        return sum(cpu_seconds_of(process.pid) for process in self.ceph.processes.values())

    def stand_back(self):
        """From now on its programs take of the load's core what the load leaves, and nothing of the server's."""
        for process in self.ceph.processes.values():
            subprocess.run(["taskset", "-a", "-c", "-p", LOAD_CORE, str(process.pid)], check=True, stdout=subprocess.DEVNULL)
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), LOWEST_PRIORITY)


class Files:
    """A directory."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="belay-archives-")
        return self

    def __exit__(self, *_):
        self.directory.cleanup()

    def url(self, name):
        return f"file://{self.directory.name}/{name}"

    def objects(self, name):
        return Objects({"directory": f"{self.directory.name}/{name}"})

    def busy_seconds(self):
        return 0

    def stand_back(self):
        pass


class Puts(threading.Thread):
    """PUTs of 64 KiB by the same client that a node has, one after the other with pauses, until end()."""

    def __init__(self, place):
        super().__init__()
        self.objects = place.objects("puts")
        self.over = threading.Event()
        self.prefix = uuid.uuid4() # What is there already would not be written once more.
        self.times_ms, self.failed = [], None
        self.start()

    def run(self):
        with self.objects:
            while True: # One at least, however late this thread begins.
                answer = self.objects.put(f"{self.prefix}-{len(self.times_ms)}", PUT_BYTES, seed=len(self.times_ms) % 251,
                                          only_new=True)
                if answer["rc"] != 0:
                    self.failed = answer
                    return
                self.times_ms.append(answer["took_us"] / 1000)
                if self.over.wait(PUT_PAUSE_S):
                    return

    def end(self):
        """How long each took, in milliseconds."""
        self.over.set()
        self.join()
        check(not self.failed and self.times_ms, f"PUTs of our own: {self.failed}")
        return self.times_ms


def status_of(node):
    return json.loads(node.run("belayctl", "archive", "status", "--json"))["archive"]


def await_archived(node):
    """All that was written is there. Returns what it says of its archive."""
    def archived():
        status = status_of(node)
        return status if status["unarchived_bytes"] == 0 else None
    return wait_for("all is archived", archived, PATIENCE_S)


def restore(node, url):
    """All of the archive into that node; what belayctl says of it."""
    done = json.loads(node.run("belayctl", "archive", "restore", "--from", url, "--path-style", "--state",
                               node.directory / "restore", "--json", timeout_s=PATIENCE_S, expect=None))
    check("sessions" in done, f"the restore: {done}")
    return done


def json_values(count, seed=1):
    """Sessions as web applications keep them."""
    chance = random.Random(seed)
    agents = ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
              "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148")
    for number in range(count):
        yield json.dumps({
            "user_id": chance.randrange(10**7), "name": f"user{chance.randrange(10**5)}",
            "csrf": f"{chance.getrandbits(128):032x}", "signed_in": 1700000000 + chance.randrange(10**7),
            "roles": chance.sample(("user", "editor", "admin", "billing"), 2),
            "agent": chance.choice(agents), "address": f"198.51.100.{chance.randrange(256)}", "visits": number % 100,
            "cart": [{"article": chance.randrange(10**5), "count": chance.randrange(1, 5), "price": chance.randrange(10**4) / 100}
                     for _ in range(chance.randrange(4))],
            "settings": {"language": chance.choice(("en", "de", "fr")), "theme": chance.choice(("light", "dark")), "page": 50},
        })
