"""What nodes say to each other, byte by byte, for tests that play one (server/cluster/peer_frame.h, peer_hello.h)."""

import base64
import hashlib
import hmac
import os
import socket
import struct
import time

from native import crc32c

HELLO, CHALLENGE, OPEN, OPENED, REFUSED = 1, 2, 3, 4, 5
CONTROL, DATA, JOIN = 1, 2, 3
HEAD_BYTES = 20
PREFIX = "belay-join-1."


def frame(kind, body, number=0):
    head = struct.pack("<IB3xQ", len(body), kind, number)
    return head + struct.pack("<I", crc32c(head + body)) + body


class Secret:
    """What a join token says: id and secret of the cluster, addresses of members."""

    def __init__(self, token):
        text = token.strip()
        assert text.startswith(PREFIX), text
        text = text[len(PREFIX):]
        binary = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        assert struct.unpack("<I", binary[-4:])[0] == crc32c(binary[:-4])
        self.cluster, self.secret, count = binary[:16], binary[16:48], binary[48]
        self.addresses, at = [], 49
        for _ in range(count):
            size = binary[at]
            self.addresses.append(binary[at + 1:at + 1 + size].decode())
            at += 1 + size


class Refused(Exception):
    """The other end refused: its number and its text."""

    def __init__(self, why, text):
        super().__init__(f"{why}: {text}")
        self.why, self.text = why, text


class Closed(Exception):
    """The other end closed the connection."""


class Dialler:
    """A connection to a node's peer port. node 0: one that joins."""

    def __init__(self, address, secret, node=0, start=0, shards=1):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=60)
        self.secret, self.node, self.start, self.shards = secret, node, start, shards
        self.nonce = os.urandom(32)
        self.acceptor = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, size):
        came = b""
        while len(came) < size:
            try:
                more = self.socket.recv(size - len(came))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            came += more
        return came

    def receive_frame(self):
        """(kind, number, body); a REFUSED is raised."""
        head = self.receive(HEAD_BYTES)
        size, kind, number, crc = struct.unpack("<IB3xQI", head)
        body = self.receive(size)
        assert crc == crc32c(head[:16] + body)
        if kind == REFUSED:
            raise Refused(body[0], body[2:2 + body[1]].decode())
        return kind, number, body

    def hello(self, newest=5, oldest=5):
        return frame(HELLO, struct.pack("<HH", newest, oldest) + self.secret.cluster +
                     struct.pack("<II", self.node, self.start) + self.nonce)

    def take_challenge(self):
        kind, _, body = self.receive_frame()
        assert kind == CHALLENGE, kind
        self.acceptor = body
        assert hmac.compare_digest(body[42:74], self.proof(2))

    def proof(self, side):
        _, node, start = struct.unpack("<HII", self.acceptor[:10])
        said = (b"belay-peer-1" + bytes([side]) + self.secret.cluster +
                struct.pack("<IIII", self.node, self.start, node, start) + self.nonce + self.acceptor[10:42])
        return hmac.new(self.secret.secret, said, hashlib.sha256).digest()

    def open(self, role, shard=0, to_shard=0, to_shards=0, epoch=0, clock_ms=None):
        clock_ms = int(time.time() * 1000) if clock_ms is None else clock_ms
        return frame(OPEN, self.proof(1) + struct.pack("<BIIIIQQ", role, shard, self.shards, to_shard, to_shards, epoch,
                                                       clock_ms))

    def greet(self, role=JOIN, **wish):
        """The whole handshake. Returns (shards, epoch) of the other end."""
        self.send(self.hello())
        self.take_challenge()
        self.send(self.open(role, **wish))
        kind, _, body = self.receive_frame()
        assert kind == OPENED, kind
        return struct.unpack("<IQ", body)
