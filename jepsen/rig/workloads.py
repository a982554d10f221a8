"""What clients do: each workload gives a worker its next operation. Checkers (checkers.py) say what must come of it.

Even workers speak the native protocol, odd ones RESP, so both are in every history. Values are [key, something].
"""

import random
import threading

from . import clients
from .clients import Refused, Unknown

ACK_CHOICES = ("replica", "replica", "memory", "disk", "default")


class Operation:
    """`act()` does it and returns (the value of its completion, the level reached or None)."""

    def __init__(self, f, value, act, ack=None, final=None):
        self.f, self.value, self.act, self.ack, self.final = f, value, act, ack, final

    @property
    def is_read(self):
        return self.f == "read"


class Workload:
    """What all share. `next()` is called by many threads, each with a worker of its own, whose `chance` is seeded."""

    keys = 24
    reads = 0.15

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()

    def key_name(self, key):
        return f"{self.name}:{key}".encode()

    def key_numbers(self):
        """All keys that were ever used: those that are read at the end."""
        return range(self.keys)

    def draw(self, worker):
        return worker.chance.randrange(self.keys)

    def next(self, worker):
        key = self.draw(worker)
        if worker.chance.random() < self.reads:
            return self.read(worker, key)
        return self.write(worker, key)

    def read(self, worker, key, final=None):
        def act():
            return [key, self.look(worker.client, self.key_name(key))], None
        return Operation("read", [key, None], act, final=final)

    def unsure(self, worker, value):
        """Nobody knows whether the last write of this worker happened."""


class SetWorkload(Workload):
    """Elements, each added once, of which none may be lost."""

    def write(self, worker, key):
        element = worker.number * 1_000_000 + worker.next_number()
        name, member = self.key_name(key), str(element).encode()
        if worker.is_resp:
            def act():
                worker.client.ask("SADD", name, member)
                return [key, element], None
            return Operation("add", [key, element], act)
        ack = worker.chance.choice(ACK_CHOICES)

        def act():
            level, _ = worker.client.write(name, clients.add_member(member), kind=clients.SET, ack=ack)
            return [key, element], level
        return Operation("add", [key, element], act, ack)

    def look(self, client, name):
        found = client.ask("SMEMBERS", name) if isinstance(client, clients.RespClient) else client.read(name)
        return {int(member) for member in found or ()}


class FieldsWorkload(Workload):
    """Sessions into which every worker writes a field of its own. After a write of which nobody knows whether it
    happened the worker leaves that session alone."""

    def __init__(self, name):
        super().__init__(name)
        self.left_alone = set()

    def write(self, worker, key):
        while (worker.number, key) in self.left_alone:
            key += self.keys
        with self.lock:
            self.used = max(getattr(self, "used", 0), key + 1)
        field, value = worker.number, worker.next_number()
        name, words = self.key_name(key), (str(field).encode(), str(value).encode())
        if worker.is_resp:
            def act():
                worker.client.ask("HSET", name, *words)
                return [key, [field, value]], None
            return Operation("write", [key, [field, value]], act)
        ack = worker.chance.choice(ACK_CHOICES)

        def act():
            level, _ = worker.client.write(name, clients.set_field(*words), kind=clients.MAP, ack=ack)
            return [key, [field, value]], level
        return Operation("write", [key, [field, value]], act, ack)

    def unsure(self, worker, value):
        self.left_alone.add((worker.number, value[0]))

    def key_numbers(self):
        return range(max(self.keys, self.used))

    def look(self, client, name):
        if isinstance(client, clients.RespClient):
            words = client.ask("HGETALL", name)
            found = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2]))
        else:
            found = client.read(name) or {}
        return {int(field): int(value) for field, value in found.items()}


class CounterWorkload(Workload):
    """Additions of 1. A native client sends one again, to any node, until it knows: that it counts once is what its
    client and sequence are for."""

    keys = 8

    def write(self, worker, key):
        name = self.key_name(key)
        if worker.is_resp:
            def act():
                worker.client.ask("HINCRBY", name, "n", 1)
                return [key, 1], None
            return Operation("add", [key, 1], act)
        ack = worker.chance.choice(ACK_CHOICES)

        def act():
            return [key, 1], self.add_once(worker, name, ack)
        return Operation("add", [key, 1], act, ack)

    @staticmethod
    def add_once(worker, name, ack):
        client = worker.client
        client.connected()
        sequence, newest_hlc, is_retry = client.next_write(), client.newest_hlc, False
        for attempt in range(3):
            try:
                level, _ = client.write(name, clients.add(b"n", 1), kind=clients.MAP, ack=ack, sequence=sequence,
                                        retry_hlc=newest_hlc if is_retry else 0)
                return level
            except Unknown as error:
                is_retry, why = True, error
            except Refused as error:
                if not is_retry:
                    raise
                why = error # This try was refused; an earlier one may have happened.
            if attempt < 2:
                client.move(worker.another_address())
        client.move(worker.address)
        raise Unknown(str(why))

    def look(self, client, name):
        if isinstance(client, clients.RespClient):
            return int(client.ask("HGET", name, "n") or 0)
        return int((client.read(name) or {}).get(b"n", 0))


class DeleteWorkload(Workload):
    """Sessions that are created, written, ended and created again. A life has the number that its creator gave it, in
    the field `life`; writes by others change another field and never begin a session."""

    def __init__(self, name):
        super().__init__(name)
        self.lives = {}

    def next(self, worker):
        drawn, key = worker.chance.random(), self.draw(worker)
        if worker.is_resp:
            return self.delete(worker, key) if drawn < 0.25 else self.read(worker, key)
        if drawn < 0.35:
            return self.create(worker, worker.creates(self.keys))
        if drawn < 0.65:
            return self.change(worker, key)
        return self.delete(worker, key) if drawn < 0.8 else self.read(worker, key)

    def create(self, worker, key):
        with self.lock:
            life = self.lives[key] = self.lives.get(key, 0) + 1
        ack = worker.chance.choice(ACK_CHOICES)

        def act():
            level, _ = worker.client.write(self.key_name(key), clients.set_field(b"life", str(life).encode()),
                                           mode=clients.CREATE, kind=clients.MAP, ack=ack)
            return [key, life], level
        return Operation("create", [key, life], act, ack)

    def change(self, worker, key):
        number = worker.number * 1_000_000 + worker.next_number()

        def act():
            level, _ = worker.client.write(self.key_name(key), clients.set_field(b"note", str(number).encode()),
                                           mode=clients.UPDATE, kind=clients.MAP)
            return [key, number], level
        return Operation("write", [key, number], act)

    def delete(self, worker, key):
        if worker.is_resp:
            def act():
                return [key, worker.client.ask("DEL", self.key_name(key))], None
            return Operation("delete", [key, None], act)
        ack = worker.chance.choice(ACK_CHOICES)

        def act():
            try:
                level, ended = worker.client.write(self.key_name(key), clients.destroy(), ack=ack)
            except Refused as error:
                if f"status {clients.NOT_FOUND} " in str(error):
                    return [key, 0], None
                raise
            return [key, ended[0]], level
        return Operation("delete", [key, None], act, ack)

    def look(self, client, name):
        """The life; -1 where something is there without one; None."""
        if isinstance(client, clients.RespClient):
            words = client.ask("HGETALL", name)
            found = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2]))
            found = found or None
        else:
            found = client.read(name)
        return None if found is None else int(found.get(b"life", -1))


WORKLOADS = {"set": SetWorkload, "fields": FieldsWorkload, "counter": CounterWorkload, "delete": DeleteWorkload}


def chance_of(seed, *words):
    """Random numbers of one part of a round: the same seed, the same numbers."""
    return random.Random(":".join(map(str, (seed, *words))))
