"""The peers' port of a real belayd: who has no proof gets nowhere, who has one may still say anything, and neither keeps
others from anything."""

import os
import random
import resource
import socket
import struct
import subprocess
import time

from cases import run_cases
from cluster import Cluster
from daemon import SLOWNESS, Daemon, check, program, wait_for
from peer_wire import CONTROL, DATA, HEAD_BYTES, JOIN, Closed, Dialler, Refused, Secret, frame
from redis_kit import Client, port_of

SILENT = 1000
ROUNDS = int(os.environ.get("BELAY_ROUNDS", "400"))
VERSION, CLUSTER, SECRET, NODE, CLOCK = 1, 2, 3, 4, 6


def secret_of(daemon):
    done = subprocess.run([program("belayctl"), "join-token"], env={**os.environ, "BELAY_SERVER": daemon.native},
                          capture_output=True, text=True, timeout=60 * SLOWNESS, check=True)
    return Secret(done.stdout)


def sockets(daemon):
    """How many sockets it has open."""
    count = 0
    for name in os.listdir(f"/proc/{daemon.pid}/fd"):
        try:
            count += os.readlink(f"/proc/{daemon.pid}/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            pass
    return count


def serves(daemon, turn):
    """It takes and gives a session, and lets a node with the secret in."""
    with Client(port_of(daemon)) as client:
        check(client.ask("SET", f"k{turn}", str(turn)) == b"OK", "SET")
        check(client.ask("GET", f"k{turn}") == str(turn).encode(), "GET")
    with Dialler(daemon.ready["peer"], secret_of(daemon)) as joiner:
        joiner.greet(JOIN)


def refusal(dialler, role=CONTROL, **wish):
    try:
        dialler.greet(role, **wish)
    except Refused as refused:
        return refused.why, refused.text
    return 0, ""


def test_wrong_proofs():
    with Daemon() as daemon:
        daemon.start()
        secret, peer = secret_of(daemon), daemon.ready["peer"]

        with Dialler(peer, secret, node=77, start=1) as dialler:
            check(refusal(dialler)[0] == NODE, "no member")
        with Dialler(peer, secret, node=1, start=1) as dialler:
            check(refusal(dialler)[0] == NODE, "its own number")
        with Dialler(peer, secret) as dialler:
            why, text = refusal(dialler, JOIN, clock_ms=int(time.time() * 1000) + 60000)
            check(why == CLOCK and "cluster.max_clock_skew" in text, text)
        with Dialler(peer, secret) as dialler:
            dialler.send(dialler.hello(newest=9, oldest=8))
            try:
                dialler.take_challenge()
                check(False, "another version")
            except Refused as refused:
                check(refused.why == VERSION, refused.text)

        # With another secret the acceptor's proof is wrong, too; whoever goes on all the same is told.
        with Dialler(peer, secret) as dialler:
            dialler.send(dialler.hello())
            dialler.take_challenge()
            dialler.secret = secret_of(daemon)
            dialler.secret.secret = bytes(32)
            dialler.send(dialler.open(JOIN))
            try:
                dialler.receive_frame()
                check(False, "another secret")
            except Refused as refused:
                check(refused.why == SECRET and "join-token" in refused.text, refused.text)
        secret.cluster = bytes(16)
        with Dialler(peer, secret) as dialler:
            dialler.send(dialler.hello())
            try:
                dialler.take_challenge()
                check(False, "another cluster")
            except Refused as refused:
                check(refused.why == CLUSTER, refused.text)
        wait_for("refusals in the log", lambda: daemon.log().count("peer-refused") >= 6)
        check("reason=secret" in daemon.log(), daemon.log())
        text = daemon.http("/metrics")[1]
        check('belay_peer_handshakes_total{result="secret"} 1' in text, text)
        check('belay_peer_handshakes_total{result="node"} 2' in text, text)
        serves(daemon, 0)
        check(daemon.stop() == 0, "it ends well")


def test_slow_dribble():
    """A right HELLO, byte by byte: its time is over all the same."""
    with Daemon() as daemon:
        daemon.start()
        with Dialler(daemon.ready["peer"], secret_of(daemon)) as dialler:
            begun, sent = time.monotonic(), 0
            hello = dialler.hello()
            dialler.socket.settimeout(0.2)
            closed = False
            while not closed:
                try:
                    if sent < len(hello) - 1:
                        dialler.send(hello[sent:sent + 1])
                        sent += 1
                    closed = dialler.socket.recv(1) == b""
                except TimeoutError:
                    pass
                except OSError:
                    closed = True
                check(time.monotonic() < begun + 60 * SLOWNESS, "it is never closed")
            check(sent < len(hello) - 1, "it was closed before it was done")
        serves(daemon, 1)
        check(daemon.stop() == 0, "it ends well")


def test_silent_connections():
    """More than there is room for: nodes come in while they are open, and what they took comes back."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, SILENT + 500), hard))
    with Daemon() as daemon:
        daemon.start()
        host, port = daemon.ready["peer"].rsplit(":", 1)
        before = sockets(daemon)
        silent = [socket.create_connection((host, int(port)), timeout=60) for _ in range(SILENT)]
        for turn in range(20):
            serves(daemon, turn)
            for _ in range(20):  # And more come all the time.
                silent.pop(0).close()
                silent.append(socket.create_connection((host, int(port)), timeout=60))
        count = sockets(daemon)
        check(count <= before + 200, f"{count} sockets, {before} before")
        wait_for("sockets are closed", lambda: sockets(daemon) <= before + 2)
        for each in silent:
            each.close()
        serves(daemon, 99)
        check(daemon.stop() == 0, "it ends well")


# ---- Anything at all ----

def mutated(chance, data):
    """Some bytes of it changed, cut, doubled or replaced."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        kind = chance.randrange(5)
        at = chance.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at:at] = chance.randbytes(chance.randrange(1, 40))
        elif kind == 2:
            del data[at:at + chance.randrange(1, 40)]
        elif kind == 3 and data:
            data[at] = chance.choice([0, 1, 0x7f, 0x80, 0xff])
        else:
            data[at:at + 8] = struct.pack("<Q", chance.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
    return bytes(data)


def body_of(chance, whole):
    """A frame whose body is mutated, its checksum right: what is behind the checksum is reached."""
    return frame(whole[4], mutated(chance, whole[HEAD_BYTES:]))


def until_closed(dialler, seconds):
    """What comes is read, for so long or until it is closed."""
    dialler.socket.settimeout(seconds)
    try:
        while dialler.socket.recv(65536):
            pass
    except (TimeoutError, OSError):
        pass


def misbehave(chance, peer, secret):
    """One connection of somebody who does not keep to the protocol, at some point of it."""
    with Dialler(peer, secret, node=chance.choice([0, 0, 1, 2, 2**32 - 1]), start=chance.choice([0, 1])) as dialler:
        try:
            point = chance.randrange(5)
            if point == 0:
                dialler.send(chance.randbytes(chance.randrange(1, 600)))
            elif point == 1:
                dialler.send(chance.choice([mutated, body_of])(chance, dialler.hello()))
            else:
                dialler.node, dialler.start = 0, 0
                dialler.send(dialler.hello())
                dialler.take_challenge()
                opening = dialler.open(JOIN)
                if point < 4:
                    opening = chance.choice([mutated, body_of])(chance, opening)
                dialler.send(opening)
                if point == 4:
                    dialler.receive_frame()
                    dialler.send(frame(chance.randrange(16, 32), chance.randbytes(chance.randrange(200))))
            until_closed(dialler, 0.02)
        except (Refused, Closed, OSError):
            pass


def test_anything_before_the_proof():
    seed = int(os.environ.get("BELAY_SEED", random.randrange(2**32)))
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    with Daemon() as daemon:
        daemon.start()
        secret, before = secret_of(daemon), sockets(daemon)
        for turn in range(ROUNDS):
            misbehave(chance, daemon.ready["peer"], secret)
            check(daemon.process.poll() is None, f"it ended in turn {turn}")
        serves(daemon, 1)
        wait_for("sockets are closed", lambda: sockets(daemon) <= before + 2)
        check(daemon.stop() == 0, "it ends well")


def member_frames(chance):
    """Bodies as members send them, more or less."""
    kind = chance.randrange(16, 26)
    if chance.randrange(2) == 0:
        body = chance.randbytes(chance.randrange(300))
    else:  # A Raft message's beginning: version, type, term, and varints.
        body = bytes([1, chance.randrange(11), chance.randrange(1, 128)]) + bytes(
            chance.randrange(128) for _ in range(chance.randrange(60)))
    return frame(kind, body, chance.choice([0, 1, 2**63, 2**64 - 1]))


def data_frames(chance):
    kind = chance.choice([*range(32, 48), 64, 65, 80, 81])
    body = chance.randbytes(chance.randrange(400))
    if chance.randrange(2) == 0:
        body = bytes(byte & 15 for byte in body)
    return frame(kind, body, chance.choice([0, 1, 2, 2**32, 2**64 - 1]))


def play_member(chance, peer, secret, number, start, shards):
    """One connection that has every right to be there, and talks nonsense. Returns its role; 0: it was not let in."""
    role, let_in = chance.choice([CONTROL, DATA]), 0
    with Dialler(peer, secret, node=number, start=start, shards=shards) as dialler:
        try:
            shard = chance.randrange(shards)
            dialler.greet(role, **({"shard": shard, "to_shard": shard, "to_shards": shards} if role == DATA else {}))
            let_in = role
            for _ in range(chance.randrange(1, 30)):
                dialler.send(member_frames(chance) if role == CONTROL else data_frames(chance))
            until_closed(dialler, 0.02)
        except (Refused, Closed, OSError):
            pass
    return let_in


def test_anything_of_a_member():
    """The other of two nodes is gone, and somebody speaks in its name."""
    seed = int(os.environ.get("BELAY_SEED", random.randrange(2**32)))
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    with Cluster(2) as cluster:
        cluster.start()
        node, other = cluster[0], cluster[1]
        secret = secret_of(node)
        number = next(each["number"] for each in node.ask("node", "list")["nodes"] if each["name"] == other.name)
        other.kill()
        roles = []
        for turn in range(ROUNDS):
            roles.append(play_member(chance, node.ready["peer"], secret, number, 1000, 2))
            check(node.process.poll() is None, f"it ended in turn {turn}")
        check(min(roles.count(CONTROL), roles.count(DATA)) > ROUNDS / 4, f"{roles.count(0)} of {ROUNDS} not let in")
        wait_for("it serves", lambda: client_serves(node))
        check(node.stop() == 0, "it ends well")


def client_serves(node):
    """Is a write taken, though the other node is gone?"""
    with Client(port_of(node)) as client:
        return client.ask("SET", "after", "all") == b"OK" and client.ask("GET", "after") == b"all"


if __name__ == "__main__":
    run_cases(__name__)
