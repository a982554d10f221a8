"""The native protocol in Python: enough to look at a server from outside the C library.

Frames are described in proto/frame.h, heads in proto/belay.proto, change lists in proto/change.h. Heads are
dictionaries of field number to integer or bytes here.
"""

import functools
import socket
import struct

HELLO, PING, GET, WRITE, GET_MANY, WRITE_MANY, SCAN, INSPECT, ADMIN = range(1, 10)
MAGIC = 0xBE
HEADER = struct.Struct("<BBHIQII")

RECOVER = 11

OK, NOT_FOUND, INVALID = 0, 1, 16


def _crc_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def _feed(register, data):
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


_of = functools.lru_cache(maxsize=4)(functools.partial(_feed, 0))


@functools.lru_cache(maxsize=None)
def _zeros(count):
    """What so many zero bytes make of each bit of the register."""
    if count == 1:
        return [_feed(1 << bit, b"\0") for bit in range(32)]
    half = _zeros(count // 2)
    both = [_times(half, column) for column in half]
    return [_times(_zeros(1), column) for column in both] if count % 2 else both


def _times(columns, register):
    result = 0
    for bit, column in enumerate(columns):
        if register >> bit & 1:
            result ^= column
    return result


def crc32c(data, value=b""):
    """Of both, one after the other. A large value is looked at once, however often it comes."""
    register = _feed(0xFFFFFFFF, data)
    if len(value) < 256:
        return _feed(register, value) ^ 0xFFFFFFFF
    return _times(_zeros(len(value)), register) ^ _of(bytes(value)) ^ 0xFFFFFFFF


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value):
    return varint(len(value)) + value


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def pack_head(fields):
    out = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + string(value)
    return bytes(out)


def unpack_head(data):
    fields, at = {}, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            fields[tag >> 3], at = read_varint(data, at)
        elif tag & 7 == 2:
            size, at = read_varint(data, at)
            fields[tag >> 3] = data[at:at + size]
            at += size
        else:
            raise ValueError(f"wire type {tag & 7}")
    return fields


def frame(kind, request_id, fields, value=b"", flags=0):
    head = pack_head(fields)
    start = HEADER.pack(MAGIC, kind, flags, len(head) + len(value), request_id, len(head), 0)[:20]
    crc = crc32c(start + head, value)
    return start + struct.pack("<I", crc) + head + value


class Connection:
    """One blocking connection. `hello` may be left out to test a server with what does not belong there."""

    def __init__(self, address, hello=True, timeout=60):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.buffer = b""
        self.next_id = 1
        if hello:
            head, _ = self.call(HELLO, {1: 1, 4: b"test"})
            if head.get(1, 0) != OK:
                raise ConnectionError(head.get(2, b"").decode())
            self.shards = head.get(6, 1)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, kind, fields, value=b""):
        request_id = self.next_id
        self.next_id += 1
        self.socket.sendall(frame(kind, request_id, fields, value))
        return request_id

    def receive(self):
        """The next reply: request id, head, value."""
        while len(self.buffer) < HEADER.size:
            self._more()
        _, _, _, body_size, request_id, head_size, crc = HEADER.unpack(self.buffer[:HEADER.size])
        while len(self.buffer) < HEADER.size + body_size:
            self._more()
        whole = self.buffer[:HEADER.size + body_size]
        self.buffer = self.buffer[HEADER.size + body_size:]
        if body_size <= 65536 and crc32c(whole[:20] + whole[24:]) != crc:
            raise ValueError("a reply's checksum is wrong")
        return request_id, unpack_head(whole[24:24 + head_size]), whole[24 + head_size:]

    def _more(self):
        data = self.socket.recv(262144)
        if not data:
            raise ConnectionError("closed by the server")
        self.buffer += data

    def call(self, kind, fields, value=b""):
        request_id = self.send(kind, fields, value)
        answered, head, value = self.receive()
        if answered != request_id:
            raise ValueError(f"reply to {answered}, not {request_id}")
        return head, value

    def get(self, key):
        """The bytes of a blob, or None."""
        head, value = self.call(GET, {1: key})
        status = head.get(1, 0)
        if status == NOT_FOUND:
            return None
        if status != OK:
            raise RuntimeError(f"GET: status {status} {head.get(2, b'').decode()}")
        return value

    def put(self, key, value, ack=0):
        """Set a blob. Returns the reply's head."""
        return self.write({1: key, 3: 1, 5: ack}, b"\x01" + string(b"") + string(value))

    def end(self, key):
        """End a session, there or not. Returns the reply's head."""
        return self.write({1: key}, b"\x0c")

    def write(self, fields, changes):
        head, _ = self.call(WRITE, fields, changes)
        if head.get(1, 0) != OK:
            raise RuntimeError(f"WRITE: status {head.get(1)} {head.get(2, b'').decode()}")
        return head

    def admin(self, command):
        """The JSON document that `command` gives."""
        head, value = self.call(ADMIN, {1: command.encode()})
        if head.get(1, 0) != OK:
            raise RuntimeError(f"ADMIN: status {head.get(1)} {head.get(2, b'').decode()}")
        return value
