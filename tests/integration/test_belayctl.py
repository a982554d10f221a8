"""belayctl against a real server: what it prints, its JSON, its exit codes, its manual and completion."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from cases import long, run_cases
from daemon import BUILD, SLOWNESS, Daemon, check, program, reserve_port, wait_for

TREE = Path(__file__).resolve().parents[2]


def belayctl(daemon, *arguments, expect=0, stdin=b""):
    """Returns (stdout, stderr), as text where it is text."""
    server = daemon if isinstance(daemon, str) else daemon.native
    done = subprocess.run([program("belayctl"), *arguments], input=stdin, capture_output=True,
                          env={**os.environ, "BELAY_SERVER": server}, timeout=60 * SLOWNESS,
                          check=False)
    check(done.returncode == expect,
          f"belayctl {arguments}: exit {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr.decode()


def asked(daemon, *arguments, **options):
    """The JSON document, which is the only line."""
    out, err = belayctl(daemon, "--json", *arguments, **options)
    check(out.endswith(b"\n") and out.count(b"\n") == 1, out)
    check(not err, err)
    return json.loads(out)


def lines(daemon, *arguments, **options):
    return belayctl(daemon, *arguments, **options)[0].decode().splitlines()


def test_put_and_get():
    with Daemon() as daemon:
        daemon.start()
        said = lines(daemon, "session", "put", "web:1", "user=ada", "cart=", "eq=a=b",
                     "--ttl", "8h", "--idle=30m", "--owner", "ada", "--ack", "disk")
        check(re.fullmatch(r"created web:1, safe in: disk, version [0-9a-f]+", said[0]), said)
        shown = lines(daemon, "session", "get", "web:1")
        check("type         map of 3, 6 B" in shown, shown)
        check("owner        ada" in shown and "idle         30m" in shown, shown)
        check(any(re.match(r"ends +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \(in (29m|30m)", line)
                  for line in shown), shown)
        check(shown[-4:] == ["", "  cart  ", "  eq    a=b", "  user  ada"], shown)
        shown = lines(daemon, "session", "get", "web:1", "user", "none")
        check(shown[-2:] == ["  user  ada", "  none  (no such field)"], shown)
        check("type         map of 3" in shown, shown) # The size of two fields is not the session's.
        check(belayctl(daemon, "session", "get", "web:1", "eq", "--raw")[0] == b"a=b", "raw field")
        belayctl(daemon, "session", "get", "web:1", "none", "--raw", expect=1)
        belayctl(daemon, "session", "get", "web:1", "--raw", expect=2)
        check(len(lines(daemon, "session", "get", "web:1", "--meta")) == len(shown) - 3, "meta")

        said = lines(daemon, "session", "put", "web:1", "--add", "n=2", "--delete", "cart")
        check(said[0].startswith("changed web:1, safe in: memory"), said)
        check("  n     2" in lines(daemon, "session", "get", "web:1"), "added")
        lines(daemon, "session", "put", "web:1", "x=y", "--replace", "--persist")
        document = asked(daemon, "session", "get", "web:1")
        check(document["fields"] == [{"name": "x", "value": "y"}], document)
        check(document["deadline_ms"] == 0 and document["idle_ms"] == 0, document)


def test_blobs_and_bytes():
    with Daemon() as daemon:
        daemon.start()
        raw = bytes(range(256)) * 300
        belayctl(daemon, "session", "put", "b", "-", stdin=raw)
        check(belayctl(daemon, "session", "get", "b", "--raw")[0] == raw, "bytes through stdin")
        check(asked(daemon, "session", "get", "b")["value_hex"] == raw.hex(), "value_hex")
        belayctl(daemon, "session", "put", "t", "tab\tnew\nline\x1b[31m\\ ü")
        shown = lines(daemon, "session", "get", "t")
        check(shown[-1] == "  tab\\tnew\\nline\\x1b[31m\\\\ ü", shown)
        check(asked(daemon, "session", "get", "t")["value"] == "tab\tnew\nline\x1b[31m\\ ü", "value")
        belayctl(daemon, "session", "put", "e", "a=b", "--type", "blob")
        check(belayctl(daemon, "session", "get", "e", "--raw")[0] == b"a=b", "--type blob")


def test_sets():
    with Daemon() as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "s", "b", "a", "--type", "set")
        check(asked(daemon, "session", "get", "s")["fields"] == [{"name": "a"}, {"name": "b"}], "set")
        check(lines(daemon, "session", "get", "s")[-2:] == ["  a", "  b"], "set")
        belayctl(daemon, "session", "put", "z", "m=1.5", "a=b=-2", "--type", "zset")
        check(asked(daemon, "session", "get", "z")["fields"] ==
              [{"name": "a=b", "score": -2.0}, {"name": "m", "score": 1.5}], "zset")
        check("  m    1.5" in lines(daemon, "session", "get", "z"), "zset")
        check(belayctl(daemon, "session", "get", "z", "m", "--raw")[0] == b"1.5", "raw score")
        _, err = belayctl(daemon, "session", "get", "z", "--raw", expect=2)
        check("z is a zset" in err, err)


def test_inspect():
    """JSON whatever the session holds: scores, which JSON has no infinity for, zero bytes, no text at all."""
    with Daemon() as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "z", "a=1", "b=2.5", "c=inf", "d=-inf", "--type", "zset")
        scores = [1, 2.5, "inf", "-inf"]
        for shown in (asked(daemon, "session", "inspect", "z"), asked(daemon, "session", "get", "z")):
            check([field["score"] for field in shown["fields"]] == scores, shown)
        check(json.loads(belayctl(daemon, "session", "inspect", "z")[0])["type"] == "zset", "for people")
        for value in (b"a\0b", b"\0", b"\xff\0", b""):
            belayctl(daemon, "session", "put", "b", "-", stdin=value)
            field = asked(daemon, "session", "inspect", "b")["fields"][0]
            check(field.get("value", "").encode() == value or field.get("value_hex") == value.hex(),
                  (value, field))


def test_refusals():
    with Daemon() as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "k", "v", "--create")
        _, err = belayctl(daemon, "session", "put", "k", "v", "--create", expect=1)
        check("exists already" in err and "Leave out --create" in err, err)
        belayctl(daemon, "session", "put", "absent", "v", "--update", expect=1)
        _, err = belayctl(daemon, "session", "put", "absent", "--ttl", "5s", expect=1)
        check("deadlines or an owner alone begin none" in err and "--create" in err, err)
        _, err = belayctl(daemon, "session", "put", "k", "f=v", expect=1)
        check("another type of value" in err and "session get KEY --meta" in err and "--type" in err, err)
        _, err = belayctl(daemon, "session", "put", "huge", "-", stdin=bytes(17 << 20), expect=1)
        check("the value is of 17.0 MiB, more than limits.frame of the node lets in" in err, err)
        version = asked(daemon, "session", "get", "k")["version"]
        belayctl(daemon, "session", "put", "k", "w", "--if-version", version)
        _, err = belayctl(daemon, "session", "put", "k", "x", "--if-version", version, expect=1)
        check("changed since that version" in err, err)
        error = asked(daemon, "session", "get", "absent", expect=1)["error"]
        check(error["status"] == "NOT_FOUND" and error["key"] == "absent", error)
        check(daemon.native in error["node"] and error["text"], error)
        out, err = belayctl(daemon, "session", "touch", "k", "absent", expect=1)
        check(out == b"touched: k\n" and err == "no such session: absent\n", out)
        check(asked(daemon, "session", "del", "k", "absent", expect=1) ==
              {"sessions": [{"deleted": True, "key": "k"}, {"deleted": False, "key": "absent"}]}, "")
        belayctl(daemon, "session", "inspect", "absent", expect=1)


def test_del_many():
    """More keys than one call may have, and all that begin alike; what does not begin so stays."""
    with Daemon() as daemon:
        daemon.start()
        count = 2000
        daemon.run("belay-bench", "fill", "--sessions", count, "--prefix", "a:")
        belayctl(daemon, "session", "put", "b", "v")
        keys = lines(daemon, "session", "list", "--prefix", "a:")
        touched = asked(daemon, "session", "touch", *keys)["sessions"]
        check([row["key"] for row in touched] == keys and all(row["touched"] for row in touched), "in their order")
        gone = keys[:1500]
        said = lines(daemon, "session", "del", *gone)
        check(said == [f"deleted: {key}" for key in gone], said[:3])
        out, err = belayctl(daemon, "session", "del", *keys, expect=1)
        check(out.decode().splitlines() == [f"deleted: {key}" for key in keys[1500:]], out[:100])
        check(err.splitlines() == [f"no such session: {key}" for key in gone], err[:100])
        _, err = belayctl(daemon, "session", "del", "b", "k" * 513, expect=2)
        check("k" * 513 in err, err)

        daemon.run("belay-bench", "fill", "--sessions", count, "--prefix", "a:")
        belayctl(daemon, "session", "put", "b", "v")
        _, err = belayctl(daemon, "session", "del", "--prefix", "a:", expect=1)
        check("2,000 sessions begin so" in err and "--force" in err, err)
        check(asked(daemon, "session", "del", "--prefix", "a:", expect=1)["error"]["status"] == "UNSUPPORTED", "JSON")
        check(len(lines(daemon, "session", "list")) == count + 1, "it was but asked")
        check(lines(daemon, "session", "del", "--prefix", "a:", "--force") == ["deleted 2,000 sessions"], "all")
        check(lines(daemon, "session", "list") == ["b"], "the others stay")
        check(asked(daemon, "session", "del", "--prefix", "b", "--force") == {"deleted": 1}, "JSON")
        for wrong in (["--prefix", "a", "k"], ["--prefix", "", "--force"], ["k", "--force"], []):
            belayctl(daemon, "session", "del", *wrong, expect=2)


def test_usage():
    wrong = [
        (), ("nonsense",), ("session",), ("session", "got"), ("session", "get"),
        ("session", "get", "k", "--foo"), ("session", "get", "k", "-x"), ("status", "more"),
        ("session", "put", "k"), ("session", "put", "k", "a", "b"),
        ("session", "put", "k", "a=1", "b"), ("session", "put", "k", "v", "--ttl", "5"),
        ("session", "put", "k", "v", "--ttl"), ("session", "put", "k", "v", "--type", "tree"),
        ("session", "put", "k", "v", "--ack", "paper"), ("session", "put", "k", "--add", "n=x"),
        ("session", "put", "k", "v", "--create", "--update"),
        ("session", "put", "k", "v", "--if-version", "xyz"),
        ("session", "put", "k", "m=x", "--type", "zset"), ("session", "list", "--limit", "ten"),
        ("session", "list", "--type", "x"), ("session", "get", "k", "f", "--meta"),
        ("-s", "127.0.0.1:0", "status"), ("session", "get", "k" * 513),
        ("session", "put", "k", "v", "--ttl", "4000d"),
    ]
    with Daemon() as daemon:
        daemon.start()
        for arguments in wrong:
            out, err = belayctl(daemon, *arguments, expect=2)
            check(not out and err, (arguments, out, err))
        check("there is no command session got" in belayctl(daemon, "session", "got", expect=2)[1], "a wrong second word")
        for written, meant in ((("statsu",), "status"), (("session", "gte", "k"), "session get"), (("sesion", "get", "k"), "session get"),
                               (("polcy", "lst"), "policy list"), (("joint-token",), "join-token")):
            _, err = belayctl(daemon, *written, expect=2)
            check(f"; is {meant} meant?" in err.splitlines()[0], err)
        for written in (("monitor",), ("x", "y"), ("k" * 70,)):
            check("meant?" not in belayctl(daemon, *written, expect=2)[1], written)
        for written in (("--timout", "3s", "status"), ("--json", "--ttl", "3s", "session", "get")):
            _, err = belayctl(daemon, *written, expect=2)
            check(re.match(r"belayctl: unknown option --t\w+ before the command", err), err)
        long = "n" * 65537
        for arguments in (("put", "k", f"{long}=v"), ("put", "k", long, "--type", "set"), ("put", "k", f"{long}=1", "--type", "zset"),
                          ("put", "k", "--add", f"{long}=1"), ("put", "k", "--delete", long), ("get", "k", long)):
            _, err = belayctl(daemon, "session", *arguments, expect=2)
            check("a field's name has at most 65536 bytes, not 65537" in err, err[-200:])
        _, err = belayctl(daemon, "session", "put", "k", "v", "--owner", "o" * 256, expect=2)
        check("an owner has at most 255 bytes, not 256" in err, err)
        belayctl(daemon, "session", "put", "most", f"{long[1:]}=v", "--owner", "o" * 255)
        check(belayctl(daemon, "session", "get", "most", long[1:], "--raw")[0] == b"v", "the longest that may be")
        for arguments in (("list",), ("del",)):
            _, err = belayctl(daemon, "session", *arguments, "--prefix", "p" * 513, expect=2)
            check("--prefix has at most 512 bytes, not 513" in err, err)
        check("there is no command" not in belayctl(daemon, "session", expect=2)[1], "a second word is missing")
        for option in ("--ttl", "--idle"):
            for value in ("99999d", "3651d", "0s"):
                _, err = belayctl(daemon, "session", "put", "k", "v", option, value, expect=2)
                check(f"{option} {value}: it is from 1ms to 3650d" in err, err)
            belayctl(daemon, "session", "put", "k", "v", option, "3650d")


def test_unreachable():
    with reserve_port() as held, Daemon(settings=[f"listen.port={held.getsockname()[1]}"]) as daemon:
        daemon.start()
        address = daemon.native
        daemon.stop()
        _, err = belayctl(address, "status", expect=3)
        # Not always "refused": the kernel frees an io_uring's listener a moment after the process.
        check(f"cannot connect to {address}: " in err, err)
        check("BELAY_SERVER" in err, err)
        check(asked(address, "status", expect=3)["error"]["status"] == "CANNOT_CONNECT", "JSON")
        daemon.settings.append("listen.port=0")
        daemon.start()
        belayctl(f"{address},{daemon.native}", "status")


def test_list():
    with Daemon() as daemon:
        daemon.start()
        for i in range(30):
            belayctl(daemon, "session", "put", f"{'a' if i % 3 else 'b'}:{i}", "v")
        wanted = sorted(f"{'a' if i % 3 else 'b'}:{i}" for i in range(30))
        check(sorted(lines(daemon, "session", "list")) == wanted, "all")
        listed = [row["key"] for row in asked(daemon, "session", "list", "--prefix", "b:")["sessions"]]
        check(sorted(listed) == [key for key in wanted if key[0] == "b"], listed)
        check(len(lines(daemon, "session", "list", "--limit", "7")) == 7, "limit")
        check(lines(daemon, "session", "list", "--type", "map") == [], "type")


def test_status_and_config():
    with Daemon(settings=["policy \"web:\".idle_ttl=30m"]) as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "k", "v")
        shown = lines(daemon, "status")
        check(shown[0] == "test: ready", shown)
        check(any(daemon.native in line and "listens" in line for line in shown), shown)
        check(any(re.match(r"  sessions +1; ", line) for line in shown), shown)
        check(sum(line.startswith("  shard ") for line in shown) == 2, shown)
        document = asked(daemon, "status")
        check(document["sessions"] == 1 and document["pid"] == daemon.pid, document)
        shown = lines(daemon, "config", "get")
        check("[storage]" in shown and '[policy "web:"]' in shown, shown)
        check(lines(daemon, "config", "get", "node.name") == ["test"], "one key")
        check(lines(daemon, "config", "get", "policy..ack") == ["replica"], "of every other key")
        check(asked(daemon, "config", "get", "policy.web:.idle_ttl") ==
              {"key": "policy.web:.idle_ttl", "value": "30m"}, "policy")
        check(asked(daemon, "config", "get")["node"]["name"] == "test", "all")
        belayctl(daemon, "config", "get", "no.such", expect=1)


def check_config(daemon, text):
    """What `belayd --check-config` says of it: (exit code, text)."""
    path = daemon.directory / "got.conf"
    path.write_text(text)
    done = subprocess.run([program("belayd"), "--check-config", "--config", str(path)], capture_output=True, text=True,
                          timeout=60 * SLOWNESS, check=False)
    return done.returncode, done.stdout + done.stderr


def test_config_is_one():
    """What is printed is a configuration, with the policies that hold: those of the cluster, whatever the file says."""
    with Daemon(settings=["policy \"web:\".touch_on_read=no", "archive.path_style=no"]) as daemon:
        daemon.start()
        belayctl(daemon, "policy", "set", "shop:", "idle_ttl=2h", "no_resurrect=yes")
        check(lines(daemon, "config", "get", "policy.shop:.idle_ttl") == ["2h"], "one key")
        check(lines(daemon, "config", "get", "policy.shop:.no_resurrect") == ["yes"], "a switch")
        check(asked(daemon, "config", "get")["policy"] == asked(daemon, "policy", "list")["policies"], "all")
        text = belayctl(daemon, "config", "get")[0].decode()
        code, said = check_config(daemon, text)
        check(code == 0, said + text)
        shown = text.splitlines()
        check("path_style = no" in shown and "touch_on_read = no" in shown and "idle_ttl = 2h" in shown, text)
        belayctl(daemon, "policy", "rm", "web:")
        _, err = belayctl(daemon, "config", "get", "policy.web:.touch_on_read", expect=1)
        check("there is no key policy.web:.touch_on_read" in err, err)
        belayctl(daemon, "policy", "set", "CORP\\web:", "idle_ttl=3h")
        belayctl(daemon, "policy", "set", "two\nlines:", "idle_ttl=4h")
        text = belayctl(daemon, "config", "get")[0].decode()
        check('\n[policy "CORP\\web:"]\n' in text, "what is between quotes stands for itself")
        check('[policy "two\\nlines:"]\n#' in text and "lines:\"]\nidle" not in text, text)
        code, said = check_config(daemon, text)
        check(code == 0, said + text)


def test_dumps():
    with Daemon(shards=1) as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "kept \x01\"key\"", "v", "--ack", "disk")
        belayctl(daemon, "session", "put", "gone", "v", "--ack", "disk")
        belayctl(daemon, "session", "del", "gone")
        belayctl(daemon, "session", "put", "last", "v", "--ack", "disk")
        segment = min(daemon.data.rglob("log-*.seg"))
        shown = lines(daemon, "log", "dump", str(segment))
        check(shown[0].startswith(f"segment file={segment.name} header=good"), shown)
        check(any(line.endswith(r'key="kept \x01\x22key\x22"') for line in shown), shown)
        rows = asked(daemon, "log", "dump", str(segment))["lines"]
        check([row["what"] for row in rows] == [line.split()[0] for line in shown], rows)
        keys = [row["key"] for row in rows if row["what"] == "record" and row["kind"] != "mark"]
        check(keys[0] == "kept \x01\"key\"" and keys[-1] == "last" and "gone" in keys, keys)
        check(rows[-1]["what"] == "end" and rows[-1]["records"] == len(rows) - 2, rows[-1])

        _, err = belayctl(daemon, "data", "dump", str(daemon.data), expect=1)
        check(f"in use by process {daemon.pid}; stop that one first" in err, err)
        check(daemon.stop() == 0, daemon.log())
        shown = lines("nowhere", "data", "dump", str(daemon.data))
        check(shown[0].startswith(f"directory path={daemon.data} "), shown)
        rows = asked("nowhere", "data", "dump", str(daemon.data))["lines"]
        check([row["what"] for row in rows] == [line.split()[0] for line in shown], rows)
        check(rows[0]["shards"] == 1 and rows[0]["path"] == str(daemon.data), rows)

        damaged = segment.read_bytes()
        at = damaged.index(b"gone")
        segment.write_bytes(damaged[:at] + b"G" + damaged[at + 1:])
        rows = asked("nowhere", "log", "dump", str(segment))["lines"]
        check(any(row["what"] == "damaged" for row in rows), rows)
        error = asked("nowhere", "log", "dump", "/no/such", expect=1)["error"]
        check(error["status"] == "FAILED" and "No such file" in error["text"], error)
        _, err = belayctl("nowhere", "log", "dump", str(daemon.data), expect=1)
        check("Is a directory; belayctl data dump shows" in err, err)
        for none in ("/no/such", str(segment), str(segment.parent)):
            _, err = belayctl("nowhere", "data", "dump", none, expect=1)
            check("; no data directory of Belay is there" in err, err)
        belayctl("nowhere", "log", "dump", expect=2)


def test_archive_cat():
    """Objects as another implementation of the format made them."""
    objects = TREE / "tests/fuzz/corpus/archive"
    shown = lines("nowhere", "archive", "cat", str(objects / "batch"))
    check(shown[0].startswith("object kind=log cluster=a0a1a2a3a4a5a6a7a8a9aaabacadaeaf node=3 start=7 "), shown)
    check("key-id=none" in shown[0] and " records=4 least-hlc=999 newest-hlc=1005" in shown[0], shown)
    check("range shard=1 from=4096 to=8192" in shown, shown)
    records = [line for line in shown if line.startswith(("record", "item"))]
    check(records == [
        'record slot=3300 kind=full position=1111111111111111 bytes=24 key="b"',
        'record slot=3300 kind=bury position=3333333333333333 bytes=24 key="b"',
        'record slot=15495 kind=delta position=2222222222222222 bytes=25 key="a"',
        'record slot=15495 kind=batch position=000000000000004d bytes=72 key=""',
        'item kind=full position=0000000000000007 bytes=26 key="{a}0"',
        'item kind=full position=0000000000000008 bytes=26 key="{a}1"'], records)
    check(shown[-1] == "end records=4", shown)
    shown = lines("nowhere", "archive", "cat", str(objects / "part"))
    check("seen slot=5 bytes=11" in shown and "kind=checkpoint" in shown[0], shown)

    with tempfile.TemporaryDirectory() as scratch:
        keys = Path(scratch) / "keys"
        sealed = ["archive", "cat", str(objects / "sealed")]
        keys.write_text(f"new {'ab' * 32}\nk1 {bytes(range(32)).hex()}\n")
        rows = asked("nowhere", *sealed, "--key-file", str(keys))["lines"]
        check(rows[0]["key_id"] == "k1" and [row["key"] for row in rows if row["what"] == "record"] == ["b", "b", "a"], rows)
        _, err = belayctl("nowhere", *sealed, expect=1)
        check('enciphered with the key "k1", which is not given' in err, err)
        keys.write_text(f"k1 {'ab' * 32}\n")
        _, err = belayctl("nowhere", *sealed, "--key-file", str(keys), expect=1)
        check('with another key of the id "k1"' in err, err)
        keys.write_text("k1 abc\n")
        _, err = belayctl("nowhere", *sealed, "--key-file", str(keys), expect=1)
        check("keys: line 1: a key is" in err and "abc" not in err, err)
        _, err = belayctl("nowhere", *sealed, "--key-file", str(keys) + "x", expect=1)
        check("No such file" in err, err)

        whole = (objects / "plain").read_bytes()
        damaged = Path(scratch) / "damaged"
        for at, what in ((4, "header"), (150, "block")):
            damaged.write_bytes(whole[:at] + b"!" + whole[at + 1:])
            document = asked("nowhere", "archive", "cat", str(damaged), expect=1)
            check([row["part"] for row in document["lines"] if row["what"] == "damaged"] == [what], document)
            check("is damaged" in document["error"]["text"], document)
        damaged.write_bytes(whole[:-1])
        _, err = belayctl("nowhere", "archive", "cat", str(damaged), expect=1)
        check("its trailer at byte" in err, err)


def test_policies():
    """They hold at once, also after a restart; a configuration that has changed meanwhile counts more."""
    with Daemon(settings=['policy "web:".idle_ttl=30m']) as daemon:
        daemon.start()
        belayctl(daemon, "policy", "set", "shop:", "idle_ttl=2h", "ack=disk")
        belayctl(daemon, "policy", "set", "web:", "no_resurrect=yes")
        belayctl(daemon, "session", "put", "shop:1", "v")
        check(asked(daemon, "session", "get", "shop:1")["idle_ms"] == 7200000, "idle_ttl")
        for wrong in (["web:", "ack=all"], ["web:", "colour=red"], ["web:", "ack"], ["w" * 129, "ack=disk"],
                      ["web:", "session_max_bytes=16MiB"]):
            _, said = belayctl(daemon, "policy", "set", *wrong, expect=2)
            check(said, wrong)
        _, said = belayctl(daemon, "policy", "rm", "nobody:", expect=1)
        check("no policy has this prefix; `belayctl policy list` shows all" in said, said)
        daemon.stop()
        daemon.start()
        policies = asked(daemon, "policy", "list")["policies"]
        check(set(policies) == {"", "web:", "shop:"}, policies)
        check("policy-overridden" not in daemon.log(), daemon.log())
        check(policies["shop:"]["idle_ttl"] == "2h" and policies["shop:"]["ack"] == "disk", policies)
        check(policies["web:"]["no_resurrect"] is True and policies["web:"]["idle_ttl"] == "30m", policies)
        belayctl(daemon, "policy", "set", "mail:", "idle_ttl=2h")
        belayctl(daemon, "policy", "rm", "shop:")
        belayctl(daemon, "session", "put", "shop:2", "v")
        check(asked(daemon, "session", "get", "shop:2")["idle_ms"] == 0, "removed")
        belayctl(daemon, "policy", "set", "", "idle_ttl=1h")
        belayctl(daemon, "policy", "rm", "")
        check(asked(daemon, "policy", "list")["policies"][""]["idle_ttl"] == "0", "the standard one")
        belayctl(daemon, "policy", "set", "post:", "idle_ttl=2h")
        daemon.kill() # The next start sees what was decided last only once it leads.
        daemon.settings[-1] = 'policy "mail:".idle_ttl=5m'
        daemon.start()
        policies = asked(daemon, "policy", "list")["policies"]
        check(set(policies) == {"", "mail:"} and policies["mail:"]["idle_ttl"] == "5m", policies)
        wait_for("what was overridden is told", lambda: daemon.log().count(" policy-overridden ") == 3)
        told = dict(re.findall(r" policy-overridden prefix=(\S+) effect=(\w+) ", daemon.log()))
        check(told == {"web:": "removed", "post:": "removed", "mail:": "changed"}, told)
        check(set(asked(daemon, "policy", "list")["policies"]) == {"", "mail:"}, "and so it stays")
        check("[policy \"mail:\"]" in lines(daemon, "policy", "list"), "as in belayd.conf")


@long
def test_policies_set_at_once():
    """What operators set while the map is still to get the policies of the configuration, as the disk is slow, stays."""
    with Daemon(settings=['policy "web:".idle_ttl=30m']) as daemon:
        daemon.start()
        belayctl(daemon, "policy", "set", "before:", "idle_ttl=2h")
        daemon.stop()
        daemon.settings[-1] = 'policy "web:".idle_ttl=40m'
        daemon.wrapper = ["env", f"LD_PRELOAD={BUILD / 'tests/integration/slow_sync.so'}"]
        daemon.start()
        for prefix in ("now:", "web:", "then:"):
            belayctl(daemon, "policy", "set", prefix, "idle_ttl=3h")
        belayctl(daemon, "policy", "rm", "then:")
        wait_for("it is told", lambda: " policy-overridden prefix=before: effect=removed " in daemon.log())
        daemon.stop()
        daemon.start()
        policies = asked(daemon, "policy", "list")["policies"]
        check(set(policies) == {"", "web:", "now:"} and policies["web:"]["idle_ttl"] == "3h", policies)


def test_map():
    """A node alone has all slots; it cannot be taken out."""
    with Daemon() as daemon:
        daemon.start()
        nodes = asked(daemon, "node", "list")
        check([(node["name"], node["state"], node["slots_primary"]) for node in nodes["nodes"]] ==
              [("test", "active", 16384)], nodes)
        check(nodes["self"] == 1 and nodes["nodes"][0]["native"] == daemon.native, nodes)
        check(nodes["nodes"][0]["peer"] == daemon.ready["peer"], nodes)
        out, _ = belayctl(daemon, "cluster", "restart-check", expect=1)
        check(b"this node is alone: while it restarts nobody serves its sessions" in out, out)
        check(lines(daemon, "ring")[-1] == "    0-16383  test", "ring")
        shown = lines(daemon, "session", "where", "k")
        check("  primary  test (#1, active, link self)" in shown and "no such session" in shown[1], shown)
        belayctl(daemon, "session", "put", "k", "v")
        check("no such session" not in str(lines(daemon, "session", "where", "k")), "it is there")
        check(asked(daemon, "session", "where", "{k}x")["slot"] == asked(daemon, "session", "where", "k")["slot"],
              "a tag")
        for wrong in ("16384", "-1", "x", ""):
            belayctl(daemon, "slot", "--", wrong, expect=2)
        picture = daemon.directory / "ring.svg"
        belayctl(daemon, "ring", "--svg", str(picture))
        drawn = ElementTree.parse(picture).getroot()
        check(len(drawn.findall("{*}path")) == 2, "two halves of a circle")
        belayctl(daemon, "ring", "--svg", "/nonexistent/x", expect=1)
        _, said = belayctl(daemon, "node", "remove", "test", expect=1)
        check("no other node" in said, said)
        belayctl(daemon, "node", "remove", "nobody", expect=1)


def keys_of(document):
    """All keys, at any depth."""
    if isinstance(document, list):
        return set().union(*map(keys_of, document))
    if isinstance(document, dict):
        return set(document) | set().union(*map(keys_of, document.values()))
    return set()


def manual_keys():
    """For each part of the manual's section on JSON: its *keys*."""
    text = (TREE / "tools/man/belayctl.1.scd").read_text()
    section = text.split("\n# JSON\n")[1].split("\n# ")[0]
    parts = re.split(r"\n## (.*)\n", section)
    return {name: set(re.findall(r"\*([a-z0-9_]+)\*", body))
            for name, body in zip(parts[1::2], parts[2::2])}


def test_manual_names_every_key():
    manual = manual_keys()
    with Daemon() as daemon:
        daemon.start()
        put = asked(daemon, "session", "put", "m", "a=1", "--ttl", "1h", "--owner", "o")
        belayctl(daemon, "session", "put", "b", "v")
        belayctl(daemon, "session", "put", "z", "a=1", "--type", "zset")
        shown = [asked(daemon, "session", "get", "m"), asked(daemon, "session", "get", "b"),
                 asked(daemon, "session", "get", "z"), asked(daemon, "session", "get", "m", "no")]
        found = {
            "An error": asked(daemon, "session", "get", "absent", expect=1),
            "session put": put,
            "session get": shown,
            "completion bash": asked("nowhere", "completion", "bash"),
            "session inspect": [asked(daemon, "session", "inspect", "m"),
                                asked(daemon, "session", "inspect", "z")],
            "status": asked(daemon, "status"),
            "node list": asked(daemon, "node", "list"),
            "ring": asked(daemon, "ring"),
            "slot, session where": [asked(daemon, "slot", "1"), asked(daemon, "session", "where", "m")],
            "policy list": {"policies": asked(daemon, "policy", "list")["policies"][""]},
            "policy set, policy rm, cluster replicas": [asked(daemon, "policy", "set", "p:", "ack=disk"),
                                                        asked(daemon, "policy", "rm", "p:"),
                                                        asked(daemon, "cluster", "replicas", "3")],
            "session del, session touch, session list":
                [asked(daemon, "session", "touch", "b"), asked(daemon, "session", "list"),
                 asked(daemon, "session", "del", "b")],
        }
        directory = str(daemon.data)
        dumped = [asked(daemon, "log", "dump", str(path)) for path in daemon.data.rglob("*.seg")]
        daemon.stop()
        daemon.settings.append("storage.log_interval=10s")
        daemon.start()
        belayctl(daemon, "session", "put", "b", "staged")
        staged = [asked(daemon, "log", "dump", str(path)) for path in daemon.data.rglob("staging")]
        check("b" in [row.get("key") for document in staged for row in document["lines"]], staged)
        dumped += staged
        daemon.kill()
        objects = TREE / "tests/fuzz/corpus/archive"
        found["archive cat"] = [asked("nowhere", "archive", "cat", str(objects / "part")),
                                asked("nowhere", "archive", "cat", str(objects / "batch"))]
        manual["archive cat"] -= {"error"}
        made = daemon.directory / "made"
        subprocess.run([str(BUILD / "tests/integration/archive_maker"), str(made), "history", "3"], check=True,
                       stdout=subprocess.DEVNULL)
        found["archive ls"] = asked("nowhere", "archive", "ls", f"file://{made}")
        found["archive forget"] = asked("nowhere", "archive", "forget", f"file://{made}", "--older-than", "1d", "--dry-run")
        next(made.rglob("log/*/0000000000000002")).unlink()
        out, _ = belayctl("nowhere", "--json", "archive", "verify", f"file://{made}", expect=1)
        found["archive verify"] = json.loads(out)
        found["log dump, data dump"] = [*dumped, asked("nowhere", "data", "dump", directory)]
        manual["log dump, data dump"] -= {"what", "error"} - keys_of(dumped)
        for part, documents in found.items():
            said, written = keys_of(documents), manual[part]
            check(said == written,
                  f"{part}: not in the manual {said - written}, only there {written - said}")


def commands():
    """The commands that --help lists."""
    printed = subprocess.run([program("belayctl"), "--help"], capture_output=True, text=True,
                             check=True).stdout
    return [match.group(1) for match in re.finditer(r"^  ([a-z-]+(?: [a-z-]+)?)  ", printed, re.M)]


def test_completion_script():
    """What is printed is what is installed, and a shell can read it."""
    completion = (TREE / "tools/completion/belayctl.bash").read_text()
    check(belayctl("nowhere", "completion", "bash")[0].decode() == completion, "not the same text")
    check(asked("nowhere", "completion", "bash") == {"shell": "bash", "script": completion}, "JSON")
    belayctl("nowhere", "completion", "fish", expect=2)
    script = (f"source <({program('belayctl')} completion bash) && complete -p belayctl; "
              "COMP_WORDS=(belayctl c); COMP_CWORD=1; _belayctl; echo \"${COMPREPLY[@]}\"")
    printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    check(printed.stdout == "complete -F _belayctl belayctl\ncluster config completion\n", printed)


def offered(completion, *words):
    """What completes the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = (f"source {completion}; COMP_WORDS=(belayctl {quoted}); COMP_CWORD={len(words)}; _belayctl; "
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")) - {""}


def test_completion_asks():
    """Keys, nodes and policies are those of the server. None is a command, whatever it looks like."""
    completion = TREE / "tools/completion/belayctl.bash"
    with Daemon(settings=['policy "shop:".idle_ttl=30m']) as daemon:
        daemon.start()
        belayctl(daemon, "session", "put", "shopping", "v")
        done = f"{daemon.directory}/done"
        injected, shown = f"$(touch {done})", f"\\$\\(touch\\ {done}\\)"
        belayctl(daemon, "session", "put", injected, "v")
        belayctl(daemon, "policy", "set", injected, "idle_ttl=5m")

        def with_server(*words):
            script = f"PATH={BUILD.resolve()}:$PATH BELAY_SERVER={daemon.native}; export PATH BELAY_SERVER; source {completion}"
            return offered(f"<(echo '{script}')", *words)

        check(with_server("session", "get", "sh") == {"shopping"}, "keys")
        for command in (("node", "drain"), ("node", "weight"), ("node", "activate"), ("node", "remove"),
                        ("cluster", "restart-check")):
            check(with_server(*command, "te") == {"test"}, command)
        for command in (("policy", "set"), ("policy", "rm")):
            check(with_server(*command, "sh") == {"shop:"}, command)
            check(with_server(*command, "") == {"shop:", "''", shown}, (command, with_server(*command, "")))
        check(with_server("session", "get", "") == {"shopping", shown}, with_server("session", "get", ""))
        check(not os.path.exists(done), "a key was executed")


def test_help_manual_and_completion_agree():
    manual = (TREE / "tools/man/belayctl.1.scd").read_text()
    completion = TREE / "tools/completion/belayctl.bash"
    check(len(commands()) >= 8, commands())
    for command in commands():
        check(f"\n*{command}*" in manual, f"{command} is not in the manual")
        printed = subprocess.run([program("belayctl"), *command.split(), "--help"],
                                 capture_output=True, text=True, check=True).stdout
        check(printed.startswith(f"belayctl {command}"), printed)
        options = set(re.findall(r"^  (?:-s, )?(--[a-z-]+)", printed, re.M))
        for option in options:
            check(f"*{option}*" in manual, f"{command} {option} is not in the manual")
        check(offered(completion, *command.split(), "--") == options, (command, options))
        words = command.split()
        for i, word in enumerate(words):
            check(word in offered(completion, *words[:i], word[:2]), f"{command}: {word} is not completed")


if __name__ == "__main__":
    run_cases(__name__)
