"""Sessions up to the largest that there can be, where a policy lets them in, in both protocols, also in a cluster and moved to another
node; and what is said of one that is larger than its policy allows."""

import json
import os
import subprocess

from cases import run_cases
from cluster import NOBODY_FAILS, Cluster
from daemon import SLOWNESS, Daemon, check, program
from redis_kit import Client, port_of

MIB = 1024 * 1024
LARGEST = 64 * MIB
# Frames have room for the largest and its head.
SETTINGS = ['policy "".session_max_bytes=2MiB', 'policy "large:".session_max_bytes=64MiB', "limits.frame=65600KiB",
            "memory.limit=2GiB"]


def bench(node, *words):
    """(exit code, document) of belay-bench for one session."""
    done = subprocess.run([program("belay-bench"), words[0], "--server", node.native, "--json", "--timeout-ms", "60000",
                           "--sessions", "1", "--pipeline", "1", *map(str, words[1:])], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120 * SLOWNESS, check=False)
    check(done.returncode in (0, 1) and done.stdout, done)
    return done.returncode, json.loads(done.stdout)


def put(node, protocol, size):
    code, filled = bench(node, "fill", "--value-bytes", size, "--prefix", f"large:{protocol}:", "--protocol", protocol)
    check(code == 0 and filled["written"] == 1, (protocol, filled))


def check_there(node, protocol, size, by):
    """That it is as `protocol` wrote it, by another one."""
    code, found = bench(node, "check", "--value-bytes", size, "--prefix", f"large:{protocol}:", "--protocol", by)
    check(code == 0 and (found["present"], found["lost"], found["wrong"]) == (1, 0, 0), (protocol, by, found))


def test_largest():
    """A value of just the size that its policy says, which is the ceiling, by either protocol, is read by the other one."""
    with Daemon(settings=SETTINGS) as daemon:
        daemon.start()
        for protocol in ("native", "resp"):
            put(daemon, protocol, LARGEST)
        for protocol, by in (("native", "resp"), ("resp", "native")):
            check_there(daemon, protocol, LARGEST, by)


def test_in_a_cluster():
    """By either protocol and at any node, which asks the one that has it; and at the next owner, once the node was drained."""
    size = 12 * MIB
    # On a busy machine one frame of that size takes longer than a node may be silent by default.
    with Cluster(2, settings=[*SETTINGS, *NOBODY_FAILS], shards=1) as cluster:
        cluster.start()
        first, second = cluster
        first.run("belayctl", "policy", "set", "large:", "session_max_bytes=64MiB")
        for node, protocol in ((first, "native"), (second, "resp")):
            put(node, protocol, size)
        first.run("belayctl", "node", "drain", "n2", "--wait")
        for protocol in ("native", "resp"):
            for node, by in ((first, "native"), (second, "resp")):
                check_there(node, protocol, size, by)


def refused(client, *command):
    answer = client.ask(*command)
    check(b"session_max_bytes" in answer, (command[0], answer[:200]))


def test_larger_than_its_policy():
    """Which limit it is is said, what was there stays, and the connection goes on."""
    with Daemon(settings=SETTINGS) as daemon:
        daemon.start()
        value = os.urandom(MIB)
        for protocol in ("native", "resp"):
            code, filled = bench(daemon, "fill", "--value-bytes", 3 * MIB, "--protocol", protocol)
            check(code == 1 and set(filled["errors"]) <= {"SESSION_TOO_LARGE", "INVALID"} and filled["written"] == 0, filled)
        said = subprocess.run([program("belayctl"), "-s", daemon.native, "session", "put", "small", "-"], input=bytes(3 * MIB),
                              capture_output=True, timeout=60 * SLOWNESS, check=False)
        check(said.returncode == 1 and b"larger" in said.stderr.lower(), said.stderr)
        check(b"session_max_bytes, 2097152" in said.stderr and b"the write has 31457" in said.stderr, said.stderr)
        for size, text in ((65 * MIB, b"larger than 64 MiB"), (64 * MIB + 1, b"larger than 64 MiB")):
            said = subprocess.run([program("belayctl"), "-s", daemon.native, "session", "put", "large:", "-"], input=bytes(size),
                                  capture_output=True, timeout=60 * SLOWNESS, check=False)
            check(said.returncode == 1 and text in said.stderr, said.stderr)
        with Client(port_of(daemon)) as client:
            refused(client, "SET", "small", bytes(3 * MIB))
            check(client.ask("HSET", "map", "first", value) == 1, "HSET")
            refused(client, "HSET", "map", "second", value, "third", value)
            check(client.ask("HLEN", "map") == 1, "nothing of it")
            check(client.ask("SET", "text", value) == b"OK", "SET")
            check(client.ask("APPEND", "text", value) == 2 * MIB, "as large as may be")
            refused(client, "APPEND", "text", b"x")
            check(client.ask("STRLEN", "text") == 2 * MIB, "as it was")
            check(client.ask("EXISTS", "small") == 0, "nothing of it")
            answer = client.ask("SET", "large:", bytes(LARGEST + MIB))
            check(b"Protocol error: invalid bulk length" in answer, answer[:200])  # And the connection is closed.


if __name__ == "__main__":
    run_cases(__name__)
