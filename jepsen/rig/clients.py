"""Clients that know, of each request, whether it happened: yes, certainly not, or nobody knows.

A method returns where it happened. It raises Refused where it certainly did not, and Unknown where it may have: no
answer in time, a lost connection, a status that leaves it open. After Unknown the connection is gone; the next
request makes a new one.
"""

import json

import native
import redis_kit

ACKS = ("default", "memory", "replica", "disk", "archive")
LEVEL = {name: number for number, name in enumerate(ACKS)}
NOT_FOUND, EXISTS, MISMATCH, DESTROYED, MAYBE_APPLIED = 1, 2, 3, 7, 8
BUSY, MEMORY_FULL, DISK_FULL, STOPPING = 32, 33, 34, 37
# Statuses that say for certain that a write had no effect (proto/status.h). UNAVAILABLE is none of them: the write may
# be in the coordinator's memory while its level cannot be reached.
CERTAIN = {NOT_FOUND, EXISTS, MISMATCH, DESTROYED, BUSY, MEMORY_FULL, DISK_FULL, STOPPING}
UPSERT, CREATE, UPDATE = 0, 1, 2
BLOB, MAP, SET = 1, 2, 3
SET_FIELD, ADD, DESTROY, ADD_MEMBER = 1, 4, 12, 13
NO_TOUCH = 4
# When it was looked at and how it is stored may differ from copy to copy.
MAY_DIFFER = ("last_access_ms", "deadline_ms", "record_bytes")


class Refused(Exception):
    """It certainly did not happen."""


class Unknown(Exception):
    """It may have happened, or may happen yet."""


def set_field(name, value):
    return bytes([SET_FIELD]) + native.string(name) + native.string(value)


def add(name, delta):
    return bytes([ADD]) + native.string(name) + native.varint((delta << 1) ^ (delta >> 63))


def add_member(name):
    return bytes([ADD_MEMBER]) + native.string(name)


def destroy():
    return bytes([DESTROY])


class Patient:
    """What both clients share: a connection made when it is wanted, dropped when nobody knows what became of it."""

    def __init__(self, address, timeout_s):
        self.address = address
        self.timeout_s = timeout_s
        self.connection = None

    def connected(self):
        if self.connection is None:
            try:
                self.connection = self.connect()
            except (OSError, ValueError) as error:
                raise Refused(f"cannot connect: {error}") from None
        return self.connection

    def close(self):
        if self.connection is not None:
            self.disconnect()
            self.connection = None

    def doubt(self, error):
        self.close()
        raise Unknown(f"{type(error).__name__}: {error}") from None


class NativeClient(Patient):
    """Speaks the native protocol. Each write has a client and a sequence, so that it may be sent again to any node."""

    def __init__(self, address, timeout_s):
        super().__init__(address, timeout_s)
        self.client = 0
        self.sequence = 0
        self.newest_hlc = 0

    def connect(self):
        connection = native.Connection(self.address, hello=False, timeout=self.timeout_s)
        try:
            head, _ = connection.call(native.HELLO, {1: 1, 2: self.client, 4: b"jepsen"})
            if head.get(1, 0) != 0:
                raise OSError(f"HELLO: status {head[1]}")
        except (OSError, ValueError):
            connection.close()
            raise
        self.client = self.client or head[4]
        self.newest_hlc = max(self.newest_hlc, head.get(10, 0))
        return connection

    def disconnect(self):
        self.connection.close()

    def move(self, address):
        """Go on with another node."""
        if address != self.address:
            self.close()
            self.address = address

    def call(self, kind, head, value=b""):
        connection = self.connected()
        try:
            reply, body = connection.call(kind, head, value)
        except (OSError, ValueError) as error:
            self.doubt(error)
        self.newest_hlc = max(self.newest_hlc, reply.get(17, 0))
        return reply, body

    def next_write(self):
        """The number of a new write."""
        self.sequence += 1
        return self.sequence

    def write(self, key, changes, mode=UPSERT, kind=0, ack="default", sequence=None, retry_hlc=0):
        """Returns (the level reached, the results as integers). With the `sequence` and `retry_hlc` of an earlier try
        it is that write once more."""
        self.connected() # Which gives the client its id.
        head = {1: key, 2: mode, 3: kind, 5: LEVEL[ack], 6: self.client, 7: sequence or self.next_write(), 8: retry_hlc}
        reply, body = self.call(native.WRITE, head, changes)
        status = reply.get(1, 0)
        if status in CERTAIN:
            raise Refused(f"status {status} {reply.get(2, b'').decode()}")
        if status != 0:
            raise Unknown(f"status {status} {reply.get(2, b'').decode()}")
        return ACKS[reply.get(3, 0)], integers(body)

    def read(self, key):
        """{field: value} of a map, a set of names of a set, bytes of a blob; None: there is no such session."""
        reply, body = self.call(native.GET, {1: key, 2: NO_TOUCH})
        status = reply.get(1, 0)
        if status == NOT_FOUND:
            return None
        if status != 0:
            raise Refused(f"status {status} {reply.get(2, b'').decode()}")
        kind = reply.get(5, 0)
        if kind == BLOB:
            return body
        words = strings(body)
        if kind == MAP:
            return dict(zip(words[::2], words[1::2]))
        return set(words[::2])

    def inspect(self, key):
        """The asked node's own copy as text; None: it has none."""
        reply, body = self.call(native.INSPECT, {1: key})
        if reply.get(1, 0) not in (0, NOT_FOUND):
            raise Refused(f"status {reply[1]}")
        return body.decode() if reply.get(1, 0) == 0 else None


def integers(body):
    found, at = [], 0
    while at < len(body):
        value, at = native.read_varint(body, at)
        found.append((value >> 1) ^ -(value & 1))
    return found


def strings(body):
    found, at = [], 0
    while at < len(body):
        size, at = native.read_varint(body, at)
        found.append(body[at:at + size])
        at += size
    return found


class RespClient(Patient):
    """Speaks RESP, as any client of Redis. What a write waits for is the policy's business, and no answer says it."""

    REFUSALS = (b"BUSY", b"OOM", b"LOADING", b"WRONGTYPE", b"NOAUTH", b"NOPERM")

    def connect(self):
        host, port = self.address.rsplit(":", 1)
        return redis_kit.Client(port, timeout_s=self.timeout_s, host=host)

    def disconnect(self):
        self.connection.__exit__()

    def ask(self, *words):
        connection = self.connected()
        try:
            answer = connection.ask(*words)
        except Exception as error:  # pylint: disable=broad-except
            self.doubt(error)
        if isinstance(answer, redis_kit.Error):
            if answer.startswith(self.REFUSALS):
                raise Refused(answer.decode())
            raise Unknown(answer.decode())
        return answer


def copies_of(node, keys, timeout_s=10):
    """{key: what must be the same in all copies of it, or None} as one node has it."""
    client = NativeClient(node.native, timeout_s)
    try:
        return {key: state_of(client.inspect(key)) for key in keys}
    finally:
        client.close()


def state_of(text):
    """A tombstone is nothing: each node forgets it when its time has come."""
    document = json.loads(text) if text is not None else {"live": False}
    if not document["live"]:
        return None
    return {name: value for name, value in document.items() if name not in MAY_DIFFER}


def unequal(nodes, keys, wanted):
    """The sessions that are not alike on all nodes that have them, or are on less than `wanted`: (key, copies)."""
    copies = [copies_of(node, keys) for node in nodes]
    for key in keys:
        present = [each[key] for each in copies if each[key] is not None]
        if present and (len(present) < wanted or any(other != present[0] for other in present)):
            yield key, present
