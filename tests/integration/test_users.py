"""Users and passwords: who may do what, at both doors."""

import fcntl
import os
import signal
import subprocess
import tempfile
import termios
import threading
from contextlib import contextmanager
from pathlib import Path

import native
from cases import long_but_for_threads, run_cases
from daemon import Daemon, check, program, wait_for
from redis_kit import Client, Error, Redis, port_of

NO_KEY = Error(b"NOPERM this user has no permissions to access one of the keys used as arguments")
NO_CHANNEL = Error(b"NOPERM this user has no permissions to access one of the channels used as arguments")
NO_AUTH = Error(b"NOAUTH Authentication required.")
WRONG = Error(b"WRONGPASS invalid username-password pair or user is disabled.")
DENIED, BUSY = 26, 32
# A hash that takes its time: the password is `slow`. 64 MiB, 12 passes.
SLOW = "$argon2id$v=19$m=65536,t=12,p=1$c29tZXNhbHRzb21lc2FsdA$"


def no_permission(command):
    return Error(b"NOPERM this user has no permissions to run the '%s' command" % command)


# The passwords are NAME-secret. Hashes that cost next to nothing: how often one may try does not depend on the machine.
CHEAP = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$"
HASHES = {
    "default": CHEAP + "vDPGfhYgju4kZTkjuZKpkp0rVujlI8uA2Y6EZHuhw94",
    "web": CHEAP + "gzXu7CcZXu8dNhaqda32CFOkYp2lPafIJk+QTEj1kRo",
    "reader": CHEAP + "vQrjanAd6RuoYxSR1c5k0V8yZwjVgZ/0CG+u2WovdbQ",
    "nobody": CHEAP + "7HJVwbORXapzTtyDUQCnhbq+/GtwFXrJZgmHXlHdQ8A",
}
RIGHTS = {
    "default": {"admin": '""'},
    "web": {"read": '"shared:"', "write": '"web:" "cart:"'},
    "reader": {"read": '""'},
    "nobody": {},
}


def settings_of(names, extra=()):
    settings = list(extra)
    for name in names:
        settings.append(f'user "{name}".password={HASHES[name]}')
        settings += [f'user "{name}".{role}={prefixes}' for role, prefixes in RIGHTS[name].items()]
    return settings


@contextmanager
def node(names=tuple(RIGHTS), extra=(), shards=3):
    with Daemon(settings=settings_of(names, extra), shards=shards) as daemon:
        daemon.start()
        yield daemon


def logged_in(daemon, name):
    client = Client(port_of(daemon))
    check(client.ask("AUTH", name, name + "-secret") == b"OK", name)
    return client


def env_of(daemon, name, password=None):
    with tempfile.NamedTemporaryFile("w", suffix=".password", delete=False, dir=daemon.directory) as file:
        file.write((password or name + "-secret") + "\n")
    return {**os.environ, "BELAY_SERVER": daemon.native, "BELAY_USER": name, "BELAY_PASSWORD_FILE": file.name}


def ctl(environment, *words, expect=0):
    done = subprocess.run([program("belayctl"), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    check(done.returncode == expect, f"{words}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def test_same_answers_as_redis():
    """Logging in, and what a user may not do: step by step, each connection anew."""
    conversations = [
        [("GET", "a"), ("PING",), ("HELLO", 3), ("FOO",), ("GET",), ("MULTI",), ("EXEC",), ("SUBSCRIBE", "a"), ("HELLO", 9), ("HELLO", "x"),
         ("ACL", "WHOAMI"), ("RESET",), ("AUTH", "default-secret"), ("PING",), ("ACL", "WHOAMI"), ("RESET",), ("PING",)],
        [("AUTH", "bad"), ("AUTH", "web", "bad"), ("AUTH", "web", "web-secret", "more"), ("AUTH",), ("AUTH", "none", "web-secret"),
         ("HELLO", 3, "AUTH", "web", "bad"), ("PING",), ("AUTH", "web", "web-secret"), ("ACL", "WHOAMI"), ("AUTH", "web", "bad"),
         ("ACL", "WHOAMI"), ("AUTH", "default", "default-secret"), ("ACL", "WHOAMI"), ("ACL", "WHOAMI", "x"), ("ACL",), ("ACL", "FOO"),
         ("ACL", "USERS")],
        [("AUTH", "web", "web-secret"), ("SET", "web:1", "v"), ("GET", "web:1"), ("SET", "other", "v"), ("GET", "other"), ("GET", "shared:1"),
         ("SET", "shared:1", "v"), ("MSET", "web:1", "1", "other", "2"), ("MGET", "web:1", "shared:1"), ("MGET", "web:1", "other"),
         ("DEL", "web:1", "other"), ("RENAME", "web:1", "other"), ("RENAME", "other", "web:1"), ("WATCH", "other"), ("MULTI",),
         ("GET", "other"), ("GET", "web:1"), ("EXEC",), ("MULTI",), ("GET", "web:1"), ("EXEC",), ("CONFIG", "GET", "save"),
         ("CONFIG", "SET", "save", ""), ("ACL", "LIST"), ("ACL", "USERS"), ("PUBLISH", "other", "m"), ("PUBLISH", "web:news", "m"),
         ("SUBSCRIBE", "other"), ("PSUBSCRIBE", "oth*"), ("EVAL", "return 1", 1, "other"), ("HSET", "web:h", "f", "v"), ("EXPIRE", "other", 5),
         ("OBJECT", "ENCODING", "other"), ("MEMORY", "USAGE", "other"), ("SELECT", 3), ("SET", "web:1", "v"), ("SET", "other", "v"),
         ("DBSIZE",), ("CLIENT", "GETNAME"), ("INFO", "nothing"), ("ECHO", "x")],
    ]
    answers = {}
    with Redis() as redis, node() as daemon:
        with Client(redis.port) as setup:
            check(setup.ask("ACL", "SETUSER", "web", "on", ">web-secret", "~web:*", "~cart:*", "%R~shared:*", "&web:*", "&cart:*", "+@all",
                            "-@admin", "-config", "-dbsize", "+acl|whoami") == b"OK", "web")
            check(setup.ask("ACL", "SETUSER", "default", ">default-secret") == b"OK", "default")
            check(setup.ask("CONFIG", "SET", "requirepass", "default-secret") == b"OK", "default")
        for name, port in (("redis", redis.port), ("belay", port_of(daemon))):
            answers[name] = []
            for conversation in conversations:
                with Client(port) as client:
                    answers[name].append([client.ask(*step) for step in conversation])
    for conversation, theirs, ours in zip(conversations, answers["redis"], answers["belay"]):
        for step, wanted, got in zip(conversation, theirs, ours):
            if step == ("ACL", "USERS") and isinstance(wanted, list):
                check(got == [b"default", b"web", b"reader", b"nobody"], got)
            elif step == ("DBSIZE",):
                check(got == NO_KEY, got)  # Who may read some keys only must not count the others.
            elif step == ("INFO", "nothing"):
                check(not isinstance(got, Error), got)
            else:
                check(type(got) is type(wanted) and got == wanted, f"{step}: {got!r}, Redis {wanted!r}")


def test_a_pipelined_handshake():
    """What is sent together with the password waits for it, in order; the password is right, or wrong."""
    for password, wanted in (("web-secret", [b"OK", b"OK", b"OK", b"OK", b"v" * 200_000]), ("bad", [WRONG] + [NO_AUTH] * 4)):
        size = 200_000 if password != "bad" else 10_000  # More is not taken from strangers.
        with node() as daemon, Client(port_of(daemon)) as client:
            for words in (("AUTH", "web", password), ("SELECT", 2), ("CLIENT", "SETNAME", "x"), ("SET", "web:1", "v" * size),
                          ("GET", "web:1")):
                client.send(*words)
            found = [client.read() for _ in range(5)]
            check(found == wanted, found[:4])
    with node() as daemon, Client(port_of(daemon)) as client:
        for words in (("HELLO", 3, "AUTH", "web", "web-secret", "SETNAME", "y"), ("CLIENT", "GETNAME"), ("AUTH", "reader", "reader-secret"),
                      ("SET", "web:1", "v"), ("AUTH", "web", "bad"), ("ACL", "WHOAMI")):
            client.send(*words)
        found = [client.read() for _ in range(6)]
        check(found[0][b"proto"] == 3 and found[1:] == [b"y", b"OK", NO_KEY, WRONG, b"reader"], found)


def test_a_closed_client_is_answered_too():
    """Who sends all and shuts its side down gets all answers; who goes away at once harms nobody."""
    with node() as daemon:
        for _ in range(20):
            with Client(port_of(daemon)) as client:
                client.send("AUTH", "web", "web-secret" + os.urandom(4).hex())
        with Client(port_of(daemon)) as client:
            for words in (("AUTH", "web", "web-secret"), ("SET", "web:1", "v"), ("GET", "web:1")):
                client.send(*words)
            client.socket.shutdown(1)
            first = client.read()
            check(first == b"OK" or first.startswith(b"ERR too many failed logins"), first)
        with logged_in(daemon, "reader") as client:
            check(client.ask("PING") == b"PONG", "alive")


def test_rights_everywhere():
    """Prefixes hold in every database, at both doors, and for what has no key."""
    with node() as daemon:
        with logged_in(daemon, "default") as admin, logged_in(daemon, "web") as web, logged_in(daemon, "reader") as reader, \
             logged_in(daemon, "nobody") as nobody:
            check(admin.ask("MSET", "web:1", "v", "other", "o", "shared:1", "s") == b"OK", "all")
            check(web.ask("SCAN", 0) == NO_KEY and web.ask("KEYS", "*") == NO_KEY and web.ask("SCAN", 0, "MATCH", "we*") == NO_KEY, "all keys")
            check(web.ask("KEYS", "web:*") == [b"web:1"] and web.ask("SCAN", 0, "MATCH", "web:*", "COUNT", 100)[1] == [b"web:1"], "own")
            check(sorted(reader.ask("KEYS", "*")) == [b"other", b"shared:1", b"web:1"] and reader.ask("DBSIZE") == 3, "reads all")
            check(reader.ask("SET", "web:1", "x") == NO_KEY and reader.ask("DEL", "web:1") == NO_KEY, "reads only")
            check(reader.ask("FLUSHALL") == no_permission(b"flushall") and web.ask("CONFIG", "GET", "*") == no_permission(b"config|get"), "admin")
            check(nobody.ask("GET", "web:1") == NO_KEY and nobody.ask("PING") == b"PONG", "nothing")
            check(web.ask("SELECT", 5) == b"OK" and web.ask("SET", "other", 1) == NO_KEY and web.ask("SET", "cart:1", "c") == b"OK", "database")
            check(web.ask("SET", "\x013:web:1", 1) == NO_KEY and web.ask("GET", "\x013:shared:1") == NO_KEY, "a name, no database's prefix")
            check(web.ask("PUBSUB", "CHANNELS") == no_permission(b"pubsub|channels") and reader.ask("PUBSUB", "CHANNELS") == [], "channels")
            release = 'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'
            check(web.ask("EVAL", release, 1, "other", "x") == NO_KEY and web.ask("EVAL", release, 1, "web:9", "x") == 0, "scripts")
            lines = admin.ask("ACL", "LIST")
            check(lines == [b"user default on ~* &* +@all",
                            b"user web on %R~shared:* &shared:* ~web:* &web:* ~cart:* &cart:* +@all -@admin",
                            b"user reader on %R~* &* +@all -@admin -@write", b"user nobody on -@all +@connection"], lines)
        web, admin, reader = env_of(daemon, "web"), env_of(daemon, "default"), env_of(daemon, "reader")
        check("v" in ctl(web, "session", "get", "web:1"), "get")
        for words in (("get", "other"), ("put", "other", "x"), ("put", "shared:1", "x"), ("del", "other"), ("touch", "other"),
                      ("inspect", "web:1"), ("list",), ("list", "--prefix", "we")):
            check("not allowed for this user" in ctl(web, "session", *words, expect=1), words)
        check("--prefix" in ctl(web, "session", "list", expect=1), "list")
        check(ctl(web, "session", "list", "--prefix", "web:") == "web:1\n", "list")
        check("cart:1" in ctl(web, "session", "list", "--prefix", "\x015:cart:"), "of a database")
        check('"web:1"' in ctl(admin, "session", "inspect", "web:1") and ctl(reader, "session", "get", "other") != "", "others")
        check("not allowed" in ctl(web, "config", "get", expect=1) and "sessions" in ctl(web, "status"), "node")
        got = ctl(admin, "config", "get")
        check("$argon2" not in got, "hashes stay in the file")
        check('# [user "web"]' in got and '#write = "web:" "cart:"' in got, got)
        path = daemon.directory / "got.conf"
        path.write_text(got)
        done = subprocess.run([program("belayd"), "--check-config", "--config", str(path)], capture_output=True, text=True, check=False)
        check(done.returncode == 0, done.stderr)
        for environment in (env_of(daemon, "web", "bad"), env_of(daemon, "none")):
            check("no such user, or not its password" in ctl(environment, "session", "get", "web:1", expect=1), "wrong")
        anonymous = {key: value for key, value in admin.items() if not key.startswith("BELAY_USER")}
        said = ctl(anonymous, "status", expect=1)
        check("this server has users" in said and "BELAY_USER" in said and "BELAY_PASSWORD_FILE" in said, said)
        without = {key: value for key, value in admin.items() if key != "BELAY_PASSWORD_FILE"}
        check("No password was given" in ctl(without, "status", expect=1), "a user alone")
        for kind, head, value in ((native.GET, {1: b"web:1"}, b""), (native.PING, {}, b""), (native.SCAN, {}, b""),
                                  (native.GET_MANY, {}, native.string(b"web:1"))):
            with native.Connection(daemon.native, hello=False) as connection:
                check(connection.call(kind, head, value)[0][1] == DENIED, kind)
        with native.Connection(daemon.native, hello=False) as connection:
            connection.send(native.HELLO, {1: 1, 5: b"web", 6: b"web-secret"})
            connection.send(native.GET_MANY, {}, native.string(b"web:1") + native.string(b"other"))
            connection.send(native.GET_MANY, {}, native.string(b"web:1") + native.string(b"shared:1"))
            statuses = [connection.receive()[1].get(1, 0) for _ in range(3)]
            check(statuses == [0, DENIED, 0], statuses)
        for name, expected in ((b"web", DENIED), (b"default", native.INVALID)):  # Putting records back is for admins.
            with native.Connection(daemon.native, hello=False) as connection:
                connection.call(native.HELLO, {1: 1, 5: name, 6: name + b"-secret"})
                head, _ = connection.call(native.RECOVER, {1: b"web:1"}, b"no record")
                check(head.get(1, 0) == expected, (name, head))


def test_events_of_ones_own():
    """Who listens to keyspace events hears of the keys that he may read, and of no others."""
    with node(extra=("resp.notify_keyspace_events=KEg",)) as daemon:
        with logged_in(daemon, "default") as admin, logged_in(daemon, "web") as web, logged_in(daemon, "reader") as reader:
            for client in (web, reader):
                check(client.ask("PSUBSCRIBE", "__key*@0__:*")[2] == 1, "listens")
            check(web.ask("PSUBSCRIBE", "*") == NO_CHANNEL and web.ask("SUBSCRIBE", "other") == NO_CHANNEL, "not to others")
            for key in ("secret:1", "web:1", "shared:1"):
                check(admin.ask("SET", key, 1) == b"OK" and admin.ask("DEL", key) == 1, key)
            heard = [reader.read()[2:] for _ in range(6)]
            check([message for message in heard if b"secret:1" in b" ".join(message)] != [], heard)
            heard = [web.read()[2:] for _ in range(4)]
            wanted = [[b"__keyspace@0__:" + key, b"del"] if space else [b"__keyevent@0__:del", key]
                      for key in (b"web:1", b"shared:1") for space in (True, False)]
            check(heard == wanted, heard)


def test_guessing_is_slow():
    """After ten failures an address has to wait, right or wrong; other users do not, and it ends."""
    with node() as daemon, Client(port_of(daemon)) as client, logged_in(daemon, "reader") as reader:
        answers = [client.ask("AUTH", "web", f"guess {i}") for i in range(40)]
        limited = [answer for answer in answers if answer.startswith(b"ERR too many failed logins from this address; try")]
        check(answers[0] == WRONG and len(limited) >= 20, answers)
        check(set(answers) - set(limited) == {WRONG}, answers)
        check(reader.ask("AUTH", "reader", "reader-secret") == b"OK" and client.ask("AUTH", "default-secret") == b"OK", "others")
        metrics = daemon.http("/metrics")[1]
        check('belay_logins_total{result="limited"}' in metrics, metrics[:2000])
        wait_for("the limit to end", lambda: client.ask("AUTH", "web", "web-secret") == b"OK")
        clients = [Client(port_of(daemon)) for _ in range(200)]
        for number, guesser in enumerate(clients):
            guesser.send("AUTH", f"user {number}", "guess")
        answers = [guesser.read() for guesser in clients]
        check(WRONG in answers and any(answer.startswith(b"ERR too many failed logins") for answer in answers), "names, too")


def test_no_name_is_told():
    """Names that nobody has are limited as those of users are, each by itself."""
    with node() as daemon, Client(port_of(daemon)) as client:
        for name in ("none", "nobody", "no", "web"):
            answers = [client.ask("AUTH", name, "guess") for _ in range(11)]
            check(answers[:10] == [WRONG] * 10, (name, answers))


def test_failures_are_logged():
    """With name and address, safe to print, and not without end; never with what was tried, nor what was right."""
    with node() as daemon, Client(port_of(daemon)) as client:
        check(client.ask("AUTH", "web", "web-secret") == b"OK", "right")
        check(client.ask("AUTH", 'a\n"b\x1b[31m' + "x" * 100, "guess") == WRONG, "wrong")
        line = wait_for("a line", lambda: next((line for line in daemon.log().splitlines() if "login-failed" in line), None))
        check('user="a\\n\\"b\\u001b[31m' + "x" * 55 + '" address=127.0.0.1:' in line, line)
        for number in range(60):
            client.ask("AUTH", f"user {number}", "guess")
        with native.Connection(daemon.native, hello=False) as connection:
            check(connection.call(native.HELLO, {1: 1, 5: b"web", 6: b"guess"})[0][1] == DENIED, "wrong")
        log = daemon.log()
        check(log.count(" login-failed ") <= 40 and "guess" not in log and "secret" not in log, log)


@long_but_for_threads
def test_others_do_not_wait_for_a_password():
    """While a slow hash is computed, the same thread serves; what is right once costs nothing any more."""
    with node(("default",), extra=(f'user "slow".password={SLOW}' + "A" * 43, 'user "slow".read=""'), shards=1) as daemon:
        with Client(port_of(daemon)) as slow, logged_in(daemon, "default") as other:
            slow.send("AUTH", "slow", "slow")
            answered = threading.Event()

            def wait():
                check(slow.read() == WRONG, "its hash is another")
                answered.set()
            thread = threading.Thread(target=wait)
            thread.start()
            served = 0
            while not answered.is_set():
                check(other.ask("SET", "k", "v") == b"OK" and other.ask("AUTH", "default-secret") == b"OK", "served")
                served += 1
            thread.join()
            check(served > 20, f"{served} requests meanwhile")


def test_two_passwords():
    """A password and its successor both hold."""
    with node(("default",), extra=(f'user "default".password_next={HASHES["web"]}',)) as daemon:
        for _ in range(2):
            for password in ("default-secret", "web-secret"):
                with Client(port_of(daemon)) as client:
                    check(client.ask("AUTH", password) == b"OK" and client.ask("SET", "k", "v") == b"OK", password)


def test_a_password_is_typed():
    """It is not shown, and the terminal shows again what is typed after it, also after ^C; a line may end as in a file of Windows."""
    for typed, code in ((b"web-secret\nweb-secret\n", 0), (b"web-secret\nother\n", 2), (b"\x03", -signal.SIGINT)):
        ours, theirs = os.openpty()
        process = subprocess.Popen([program("belayctl"), "password"], stdin=theirs, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                                   preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        for line in typed.splitlines(keepends=True):
            check(b": " in os.read(process.stderr.fileno(), 100), "asks, once nothing is shown")
            os.write(ours, line)
            if line.endswith(b"\n"):
                check(os.read(process.stderr.fileno(), 1) == b"\n", "read")
        out, _ = process.communicate()
        check(process.returncode == code and out.startswith(b"$argon2id$") == (code == 0), (typed, process.returncode, out))
        check(termios.tcgetattr(theirs)[3] & termios.ECHO != 0, f"after {typed}")
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 1000)
        except BlockingIOError:
            shown = b""
        check(b"secret" not in shown, shown)
        os.close(ours)
        os.close(theirs)
    done = subprocess.run([program("belayctl"), "password"], input=b"web-secret\r\n", capture_output=True, check=True)
    with Daemon(settings=(f'user "web".password={done.stdout.decode().strip()}',)) as daemon:
        daemon.start()
        with logged_in(daemon, "web") as client:
            check(client.ask("ACL", "WHOAMI") == b"web", "without the end of the line")


def test_strangers_take_little():
    """Before the login no large request is taken."""
    with node() as daemon:
        for sent, wanted in ((b"*2\r\n$4\r\nAUTH\r\n$17000\r\n", b"-ERR Protocol error"), (b"*1\r\n$1000000\r\n", b"-ERR Protocol error"),
                             (b"x" * 200_000, b"-ERR Protocol error")):
            with Client(port_of(daemon)) as client:
                client.socket.sendall(sent)
                answer = client.raw()
                check(answer.startswith(wanted), answer)
        with native.Connection(daemon.native, hello=False) as connection:
            connection.send(native.WRITE, {1: b"k"}, b"v" * 20_000)
            check(connection.receive()[1][1] == 21, "FRAME_TOO_LARGE")
        with logged_in(daemon, "default") as client:
            check(client.ask("SET", "k", "v" * 300_000) == b"OK", "after it, it is")


def test_where_it_listens():
    """Without users: on loopback only, or `insecure`, and it says so."""
    with Daemon() as daemon:
        daemon.start()
        check("no-users" in daemon.log() and "whoever is on this machine" in daemon.log(), daemon.log())
        with Client(port_of(daemon)) as client:
            check(client.ask("AUTH", "default", "any") == b"OK" and client.ask("AUTH", "web", "any") == WRONG, "as Redis")
            check(client.ask("AUTH", "any").startswith(b"ERR AUTH <password> called without any password"), "as Redis")
            check(client.ask("ACL", "LIST") == [b"user default on nopass ~* &* +@all"] and client.ask("ACL", "USERS") == [b"default"], "as Redis")
    with Daemon(settings=("listen.address=0.0.0.0", "listen.insecure=yes")) as daemon:
        daemon.start()
        check("insecure: whoever reaches it" in daemon.log(), daemon.log())
    with node(extra=("listen.address=0.0.0.0",)) as daemon:
        check("no-users" not in daemon.log(), daemon.log())
    for address, extra, wanted in (("0.0.0.0", (), "there are no users"), ("::", (), "there are no users"),
                                   ("127.0.0.1", ('user "a".write="w:"',), "password is missing"),
                                   ("127.0.0.1", ('user "a".password=' + HASHES["web"].replace("$argon2id", "$argon2i"),), "no Argon2id hash"),
                                   ("127.0.0.1", ('user "a".password=' + HASHES["web"].replace("m=8,", "m=9999999,"),), "costs more"),
                                   ("127.0.0.1", (f'user "a".password={HASHES["web"]}', 'user "a".write=web:'), "prefixes in quotes")):
        settings = [f"listen.address={address}", *extra]
        done = subprocess.run([program("belayd"), *[word for setting in settings for word in ("--set", setting)], "--check-config"],
                              capture_output=True, text=True, check=False)
        check(done.returncode == 2 and wanted in done.stderr, done.stderr)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "belayd.conf"
        file.write_text('[user "a"]\npassword = x\n[user "a"]\n')
        done = subprocess.run([program("belayd"), "--config", file, "--check-config"], capture_output=True, text=True, check=False)
        check(f'{file}:3: user "a" comes twice, first at line 1' in done.stderr, done.stderr)
        for size, wanted in ((21, "hash is cut"), (11, "hash is cut"), (0, "hash is cut"), (-18, "salt is cut")): # Of 43 letters, and 22 before.
            file.write_text(f'[node]\nname = n\n[user "a"]\npassword = {HASHES["web"][:size - 43]}\nread = "a"\n')
            done = subprocess.run([program("belayd"), "--config", file, "--check-config"], capture_output=True, text=True, check=False)
            check(done.returncode == 2 and f'{file}:3: user "a": password: its {wanted}' in done.stderr, (size, done.stderr))
        file.write_text(f'[user "a"]\npassword = {HASHES["web"]}\nread = "a" b\n')
        done = subprocess.run([program("belayd"), "--config", file, "--check-config"], capture_output=True, text=True, check=False)
        check(f'{file}:1: user "a": read: \'"a" b\' is not valid' in done.stderr, done.stderr)


def test_redis_cli():
    """The options of redis-cli, in both versions of the protocol."""
    with node() as daemon:
        for options, wanted in ((("--user", "web", "--pass", "web-secret"), "OK"), (("-3", "--user", "web", "--pass", "web-secret"), "OK"),
                                (("-a", "default-secret"), "OK"), (("--user", "web", "--pass", "bad"), "NOAUTH"), ((), "NOAUTH")):
            done = subprocess.run(["redis-cli", "-p", port_of(daemon), "--no-auth-warning", *options, "SET", "web:1", "v"],
                                  capture_output=True, text=True, timeout=60, check=False)
            check(done.stdout.startswith(wanted), f"{options}: {done.stdout}{done.stderr}")


def test_load_with_a_user():
    """belay-bench logs in, on all shards, and audits."""
    with node() as daemon:
        environment = env_of(daemon, "web")
        record = daemon.directory / "record"
        done = subprocess.run([program("belay-bench"), "run", "--prefix", "web:", "--seconds", "1", "--connections", "20", "--record", record],
                              env=environment, capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == 0, done.stdout + done.stderr)
        done = subprocess.run([program("belay-bench"), "run", "--prefix", "other:", "--seconds", "1", "--connections", "2"],
                              env=environment, capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode != 0, done.stdout + done.stderr)


if __name__ == "__main__":
    run_cases(__name__)
