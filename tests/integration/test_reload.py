"""SIGHUP: users are added, changed and removed while the node serves."""

import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import native
from cases import run_cases
from daemon import Daemon, check, program, wait_for
from redis_kit import Client, Error, port_of

NO_KEY = Error(b"NOPERM this user has no permissions to access one of the keys used as arguments")
WRONG = Error(b"WRONGPASS invalid username-password pair or user is disabled.")


def hash_of(password):
    done = subprocess.run([program("belayctl"), "password"], input=password + "\n", capture_output=True, text=True, check=True)
    return done.stdout.strip()


HASHES = {password: hash_of(password) for password in ("one", "two", "admin")}
ADMIN = f'[user "admin"]\npassword = {HASHES["admin"]}\nadmin = ""\n'


def web(password="one", rights='write = "web:"', more=""):
    return f'[user "web"]\npassword = {HASHES[password]}\n{rights}\n{more}\n'


class Node:
    def __init__(self, directory, text):
        self.file = Path(directory) / "belayd.conf"
        self.file.write_text(text)
        self.daemon = Daemon(config=self.file, shards=2)

    def reload(self, text, wanted="users-reloaded"):
        """Returns the new line of the log. With None for a text the file is as it is."""
        before = len(self.daemon.log())
        if text is not None:
            self.file.write_text(text)
        self.daemon.send(signal.SIGHUP)
        return wait_for(wanted, lambda: next((line for line in self.daemon.log()[before:].split("\n")[:-1] if f" {wanted} " in line), None))

    def client(self, name="web", password="one"):
        client = Client(port_of(self.daemon))
        check(client.ask("AUTH", name, password) == b"OK", name)
        return client


@contextmanager
def node(text):
    with tempfile.TemporaryDirectory(prefix="belay-reload-") as directory:
        made = Node(directory, text)
        with made.daemon as daemon:
            daemon.start()
            yield made


def ended(client):
    """Does the connection end, without another answer?"""
    try:
        return client.raw() == b""
    except ConnectionError:
        return True


def test_rights_change_at_once():
    """Who is logged in gets and loses rights; what is not about users counts for nothing."""
    with node(ADMIN + web()) as made, made.client() as client, native.Connection(made.daemon.native, hello=False) as other:
        check(other.call(native.HELLO, {1: 1, 5: b"web", 6: b"one"})[0].get(1, 0) == 0, "native")
        check(client.ask("SET", "web:1", "v") == b"OK" and client.ask("SET", "cart:1", "v") == NO_KEY, "before")
        line = made.reload("[limits]\nin_flight = 500\n" + ADMIN + web(rights='read = "web:"\nwrite = "cart:"'))
        check("users=2 added=0 changed=1 removed=0" in line, line)
        check(client.ask("SET", "web:1", "v") == NO_KEY and client.ask("SET", "cart:1", "c") == b"OK", "after")
        check(other.call(native.GET, {1: b"cart:1"})[0].get(1, 0) == 0, "the other door")
        check(client.ask("AUTH", "web", "one") == b"OK" and client.ask("ACL", "WHOAMI") == b"web", "the same password")
        with made.client("admin", "admin") as admin:
            check(b"user web on %R~web:* &web:* ~cart:* &cart:* +@all -@admin" in admin.ask("ACL", "LIST"), "shown")
        line = made.reload(ADMIN + web(rights='read = "web:"\nwrite = "cart:"') + f'[user "new"]\npassword = {HASHES["two"]}\nread = "n:"\n')
        check("users=3 added=1 changed=0 removed=0" in line, line)
        with made.client("new", "two") as new:
            check(new.ask("GET", "n:1") is None and new.ask("GET", "web:1") == NO_KEY, "a new one")
        shown = subprocess.run([program("belayctl"), "-s", made.daemon.native, "config", "get"], capture_output=True, text=True, check=False,
                               env={"BELAY_USER": "admin", "BELAY_PASSWORD_FILE": password_file(made, "admin")})
        check("[user \"new\"]" in shown.stdout and "in_flight = 1024" in shown.stdout and "$argon2" not in shown.stdout, shown.stdout + shown.stderr)


def password_file(made, password):
    file = made.daemon.directory / "password"
    file.write_text(password + "\n")
    return str(file)


def test_a_password_that_is_gone():
    """Adding the next password ends nothing; with the old one gone, those logged in as that user are, and others are not."""
    with node(ADMIN + web()) as made, made.client("admin", "admin") as admin, made.client() as client:
        made.reload(ADMIN + web(more=f'password_next = {HASHES["two"]}'))
        check(client.ask("SET", "web:1", "v") == b"OK", "still there")
        with made.client(password="two") as next_one:
            made.reload(ADMIN + web("two"))
            for one in (client, next_one):
                one.send("GET", "web:1")
                check(ended(one), "closed")
        with Client(port_of(made.daemon)) as late:
            check(late.ask("AUTH", "web", "one") == WRONG and late.ask("AUTH", "web", "two") == b"OK", "the new one only")
        check(admin.ask("GET", "web:1") == b"v", "others go on")


def test_a_user_that_is_gone():
    """Nothing of it goes on: requests, what it subscribed to, what it watches; at both doors."""
    with node(ADMIN + web() + f'[user "ops"]\npassword = {HASHES["two"]}\nadmin = ""\n') as made, \
         made.client("admin", "admin") as admin, made.client() as subscriber, made.client() as transaction, made.client("ops", "two") as monitor, \
         native.Connection(made.daemon.native, hello=False) as other:
        check(other.call(native.HELLO, {1: 1, 5: b"web", 6: b"one"})[0].get(1, 0) == 0, "native")
        check(subscriber.ask("SUBSCRIBE", "web:news")[2] == 1 and monitor.ask("MONITOR") == b"OK", "listen")
        check(transaction.ask("MULTI") == b"OK" and transaction.ask("SET", "web:1", "v") == b"QUEUED", "begun")
        line = made.reload(ADMIN)
        check("users=1 added=0 changed=0 removed=2" in line, line)
        check(ended(subscriber), "though it asked for nothing")
        check(admin.ask("PUBLISH", "web:news", "secret") == 0 and b"PUBLISH" not in monitor.raw(), "told nothing")
        transaction.send("EXEC")
        check(ended(transaction) and admin.ask("GET", "web:1") is None, "not done")
        other.send(native.GET, {1: b"web:1"})
        try:
            answer = other.receive()
        except Exception: # Whatever it makes of a connection that ends.
            answer = None
        check(answer is None, answer)
        with Client(port_of(made.daemon)) as late:
            check(late.ask("AUTH", "web", "one") == WRONG, "gone")
        made.reload(ADMIN + web())
        with made.client() as back:
            check(back.ask("SET", "web:1", "v") == b"OK", "back again")


def test_a_transaction_across_a_change():
    """What was queued with rights that are gone is not done."""
    with node(ADMIN + web()) as made, made.client("admin", "admin") as admin, made.client() as client:
        check(client.ask("MULTI") == b"OK" and client.ask("SET", "web:1", "v") == b"QUEUED", "begun")
        made.reload(ADMIN + web(rights='write = "cart:"'))
        answer = client.ask("EXEC")
        check(answer.startswith(b"EXECABORT") and admin.ask("GET", "web:1") is None, answer)
        check([client.ask(*words) for words in (("MULTI",), ("SET", "cart:1", "v"), ("EXEC",))] == [b"OK", b"QUEUED", [b"OK"]], "anew")


def test_fewer_channels():
    """Who may not read a channel any more hears nothing of it, and goes on to hear the rest."""
    with node(ADMIN + web(rights='read = "a:" "b:"')) as made, made.client("admin", "admin") as admin, made.client() as client:
        check(client.ask("SUBSCRIBE", "a:1")[2] == 1 and client.ask("PSUBSCRIBE", "b:*")[2] == 2, "listens")
        made.reload(ADMIN + web(rights='read = "b:1"'))
        for channel in ("a:1", "b:2", "b:1"):
            admin.ask("PUBLISH", channel, channel)
        check(client.read() == [b"pmessage", b"b:*", b"b:1", b"b:1"], "only that")


def test_what_is_wrong_changes_nothing():
    with node(ADMIN + web()) as made, made.client() as client:
        for text, cause in (("nonsense", "belayd.conf:1"), (ADMIN + web().replace("$argon2id", "$x"), "no Argon2id hash"), ("", "needs a restart"),
                            ("[listen]\nport = 0\n", "needs a restart")):
            line = made.reload(text, "users-not-reloaded")
            check(cause in line and client.ask("SET", "web:1", "v") == b"OK", line)
        made.file.unlink()
        os.mkfifo(made.file) # Nobody writes to it.
        line = made.reload(None, "users-not-reloaded")
        check("needs a restart" in line and client.ask("SET", "web:1", "v") == b"OK", line)
        made.file.unlink()
        made.daemon.send(signal.SIGHUP)
        wait_for("a line", lambda: made.daemon.log().count(" users-not-reloaded ") == 6)
        made.reload(ADMIN + web())
    with node("") as made:
        check("needs a restart" in made.reload(ADMIN, "users-not-reloaded"), made.daemon.log())
        check("users=0" in made.reload("[limits]\nin_flight = 500\n"), made.daemon.log())


if __name__ == "__main__":
    run_cases(__name__)
