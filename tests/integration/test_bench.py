"""belay-bench: what it prints, what it refuses, and that its audits and checks see what they are for."""

import json
import os
import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import native
import tree
from cases import run_cases
from daemon import SLOWNESS, Daemon, check, program, wait_for

MANUAL = (tree.TOP / "tools/man/belay-bench.1.scd").read_text(encoding="utf-8").replace("\\", "")


def key_of(prefix, number):
    return (prefix + str(number).zfill(28 - len(prefix))).encode()


def bench(*arguments, server="127.0.0.1:1"):
    return subprocess.run([program("belay-bench"), *map(str, arguments)],
                          env={**os.environ, "BELAY_SERVER": server}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60 * SLOWNESS, check=False)


def test_usage():
    for wrong in ([], ["nonsense"], ["run", "word"], ["run", "--reads", "101"], ["fill"], ["audit"],
                  ["run", "--ack", "twice"], ["run", "--rate", "x"], ["run", "--pipeline", "0"],
                  ["run", "--record", "f", "--value-bytes", "10"], ["fill", "--short", "5"],
                  ["run", "--seconds", "0"]):
        done = bench(*wrong)
        check(done.returncode == 2 and done.stderr and not done.stdout, (wrong, done))
    check("there is no command nonsense, but run, audit, fill and check" in bench("nonsense").stderr, "a wrong command")
    check("Try: belay-bench --help" in bench("run", "--secnods", "1").stderr, "a wrong option")
    unit = bench("fill", "--sessions", "1", "--ttl", "99999d")
    check(unit.returncode == 2 and "99999d: a number of seconds is wanted, without a unit" in unit.stderr, unit)
    long = bench("fill", "--sessions", "1", "--ttl", "315360001")
    check(long.returncode == 2 and "a number from 0 to 315360000 is wanted" in long.stderr, long)
    protocol = bench("run", "--protocol", "http")
    check(protocol.returncode == 2 and "--protocol http: native or resp is wanted" in protocol.stderr, protocol)
    for command in (["run"], ["fill", "--sessions", "1"]):
        ack = bench(*command, "--protocol", "resp", "--ack", "disk")
        check(ack.returncode == 2 and "--ack: RESP has no ack levels" in ack.stderr, ack)
        check("--protocol native" in ack.stderr, ack)
    check(bench("--help").returncode == 0, "--help")
    check(re.fullmatch(r"belay-bench [\d.]+\n", bench("--version").stdout), "--version")
    for protocol in ("native", "resp"):
        unreachable = bench("run", "--timeout-ms", "500", "--protocol", protocol)
        check(unreachable.returncode == 3 and "127.0.0.1:1" in unreachable.stderr, unreachable)


def test_refusals_are_told():
    """What the server says of them, once, in either protocol."""
    with Daemon(settings=['policy "small:".session_max_bytes=4KiB']) as daemon:
        daemon.start()
        for protocol, status in (("native", "SESSION_TOO_LARGE"), ("resp", "INVALID")):
            done = bench("run", "--protocol", protocol, "--prefix", "small:", "--reads", 0, "--count", 20, "--value-bytes", 20000,
                         server=daemon.native)
            check(done.returncode == 1 and f"{status} 20" in done.stdout, done)
            check(re.fullmatch(rf"belay-bench: {status}: [^\n]*session_max_bytes[^\n]*\n", done.stderr), done)
            check(not bench("run", "--protocol", protocol, "--count", 20, server=daemon.native).stderr, "of none nothing")


def test_several_servers():
    """Where the first of the list is away the others are asked, by each command."""
    with Daemon() as daemon:
        daemon.start()
        servers = f"127.0.0.1:1,{daemon.native}"
        record = daemon.directory / "record"
        for command in (["fill", "--sessions", 50], ["check", "--sessions", 50],
                        ["run", "--count", 100, "--keys", 50, "--prefix", "other:", "--record", record],
                        ["audit", record]):
            done = bench(*command, server=servers)
            check(done.returncode == 0, done)
        check(daemon.stop() == 0, daemon.log())


def test_every_option_is_in_help_or_manual():
    source = (tree.TOP / "tools/bench/options.c").read_text(encoding="utf-8")
    for option in re.findall(r'^    \{"([a-z-]+)", (?:required|no)_argument', source, re.MULTILINE):
        if option not in ("help", "version"):
            check(f"--{option}" in MANUAL, f"--{option} is not in the manual")


def documented(document, where=""):
    """Every key of a JSON document is in the manual; statuses and levels are named there as a group."""
    for key, value in document.items():
        if where in (".errors", ".acked", ".levels"):
            key = "errors"
        check(f"*{key}*" in MANUAL, f"{where}.{key} is not in the manual")
        if isinstance(value, dict):
            documented(value, f"{where}.{key}" if not where else where)


def test_fill_and_check():
    with Daemon() as daemon:
        daemon.start()
        documented(json.loads(daemon.run("belay-bench", "fill", "--sessions", 1000, "--json")))
        printed = daemon.run("belay-bench", "check", "--sessions", 1000)
        check(printed == "present=1000 lost=0 wrong=0\n", printed)
        with native.Connection(daemon.native) as connection:
            connection.put(key_of("bench:", 3), b"something else")
        daemon.run("belayctl", "session", "del", key_of("bench:", 5).decode())
        printed = daemon.run("belay-bench", "check", "--sessions", 1000, expect=1)
        check(printed == "present=998 lost=1 wrong=1\n", printed)
        other = json.loads(daemon.run("belay-bench", "check", "--sessions", 10, "--seed", 2, "--json",
                                      expect=1))
        documented(other)
        check(other["wrong"] == 9 and other["lost"] == 1, other)
        hint = bench("check", "--sessions", "10", "--value-bytes", "77", server=daemon.native).stderr
        check("--value-bytes (77) and --seed (1)" in hint, hint)


def test_run():
    with Daemon() as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", 500)
        result = json.loads(daemon.run("belay-bench", "run", "--count", 5000, "--keys", 500, "--reads",
                                       80, "--ack", "disk", "--json"))
        documented(result)
        check(result["operations"] == 5000 and result["misses"] == 0, result)
        check(result["acked"] == {"disk": result["writes"]}, result)
        check(3700 < result["reads"] < 4300, result)
        check(result["server_rss_bytes"] > 0 and result["sessions"] == 500, result)
        latency = result["latency"]
        check(latency["count"] == 5000 and 0 < latency["p50_us"] <= latency["p99_us"]
              <= latency["p99.9_us"] <= latency["max_us"], latency)
        text = daemon.run("belay-bench", "run", "--count", 100, "--keys", 500)
        for word in ("throughput", "latency", "p99.9", "errors", "server", "CPU per operation"):
            check(word in text, text)


def test_progress_on_a_terminal():
    """A bar while it goes on, and nothing of it is left; where no terminal is there is none."""
    with Daemon() as daemon:
        daemon.start()
        for name, words in (("fill", ("--sessions", "3000")), ("check", ("--sessions", "3000")),
                            ("run", ("--keys", "3000", "--count", "3000")), ("run", ("--seconds", "0.1"))):
            command = [program("belay-bench"), name, "--server", daemon.native, *words]
            terminal, end = os.openpty()
            load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, text=True)
            os.close(end)
            said = b""
            try:
                while more := os.read(terminal, 4096):
                    said += more
            except OSError: # Nobody has the other end any more.
                pass
            os.close(terminal)
            printed = load.communicate()[0]
            check(load.returncode == 0 and re.search(rb"\r%s *\[[# ]{40}\] +\d+ %%" % name.encode(), said), said)
            check(said.endswith(b"\r\x1b[K") and "[" not in printed, (printed, said))
            check(not bench(name, *words, server=daemon.native).stderr, name)


def test_rate_counts_from_when_a_request_was_due():
    with Daemon() as daemon:
        daemon.start()
        result = json.loads(daemon.run("belay-bench", "run", "--count", 600, "--rate", 1000, "--reads",
                                       0, "--connections", 2, "--json"))
        check(result["operations"] == 600 and result["seconds"] > 0.55, result)
        # The server stands still for half a second: everything due meanwhile waited for it.
        def sessions():
            return sum(float(line.split()[-1]) for line in daemon.http("/metrics")[1].splitlines()
                       if line.startswith("belay_sessions{"))

        before = sessions()
        load = subprocess.Popen([program("belay-bench"), "run", "--server", daemon.native, "--count",
                                 "2000", "--rate", "1000", "--reads", "0", "--connections", "2", "--prefix",
                                 "stalled:", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        wait_for("it writes", lambda: sessions() > before + 50)
        daemon.send(19)  # SIGSTOP
        time.sleep(0.5)
        daemon.send(18)  # SIGCONT
        stalled = json.loads(load.communicate(timeout=60 * SLOWNESS)[0])
        slow = stalled["latency"]
        check(slow["max_us"] > 400000, slow)
        # A quarter of two seconds' requests were due in the stall, and waited 250 ms on average.
        check(slow["mean_us"] > 30000, slow)


def test_rate_rises():
    """From a rate to another one, evenly, and then that; intervals show it."""
    with Daemon() as daemon:
        daemon.start()
        result = json.loads(daemon.run("belay-bench", "run", "--rate", 200, "--rise", "1800:1", "--seconds", 1.5, "--reads", 0,
                                       "--every", 0.25, "--json"))
        documented(result)
        for interval in result["series"]:
            documented(interval)
        # 1000 in the first second, and what is left of a second and a half; of these what was answered in time.
        due = 1000 + 1800 * (result["seconds"] - 1)
        check(0.9 * due < result["operations"] <= due + 1, (due, result))
        counts = [interval["count"] for interval in result["series"]]
        check(sum(counts) == result["operations"] and abs(result["series"][1]["at"] - 0.25) < 0.1 * SLOWNESS, result)
        check(counts[0] < counts[2] < counts[4], counts)
        level = json.loads(daemon.run("belay-bench", "run", "--rate", 500, "--rise", "500:1", "--count", 600, "--json"))
        check(level["operations"] == 600 and level["seconds"] > 1.15, level)
        for wrong in (("--rise", "100:1"), ("--rate", 5, "--rise", "0:1"), ("--rate", 5, "--rise", "5"), ("--rate", 5, "--rise", "5:0")):
            check(bench("run", *wrong).returncode == 2, wrong)


def test_begins_anew_to_measure():
    with Daemon() as daemon:
        daemon.start()
        load = subprocess.Popen([program("belay-bench"), "run", "--server", daemon.native, "--rate", "1000", "--seconds", "600",
                                 "--reads", "0", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

        def written():
            return sum(float(line.split()[-1]) for line in daemon.http("/metrics")[1].splitlines()
                       if line.startswith("belay_acks_total{"))

        wait_for("it writes", lambda: written() > 500)
        daemon.send(19)  # SIGSTOP: what waited for so long shall not count.
        time.sleep(1)
        daemon.send(18)  # SIGCONT
        before = written()
        wait_for("it goes on", lambda: written() > before + 500)
        load.send_signal(10)  # SIGUSR1
        before = written()
        wait_for("it goes on", lambda: written() > before + 200)
        load.send_signal(2)  # SIGINT
        result = json.loads(load.communicate(timeout=60 * SLOWNESS)[0])
        check(result["operations"] < written() - 500 and result["latency"]["max_us"] < 900000, result)
        check(result["acked"] == {"memory": result["operations"]} and max(result["gaps_us"]) < 900000, result)


def test_record_survives_a_kill_of_the_bench():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = Path(scratch) / "record"
        daemon.start()
        load = subprocess.Popen([program("belay-bench"), "run", "--server", daemon.native, "--record",
                                 record, "--keys", "100", "--reads", "20", "--deletes", "20",
                                 "--seconds", "60"], stdin=subprocess.DEVNULL)
        wait_for("a thousand entries", lambda: record.exists()
                 and record.read_bytes()[256 + 32000:256 + 32032].strip(b"\0"))
        load.kill()
        load.wait()
        audited = json.loads(daemon.run("belay-bench", "audit", record, "--json"))
        documented(audited)
        check(audited["all"]["acked"] > 300, audited)


def test_audit_sees_lost_and_wrong():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = Path(scratch) / "record"
        daemon.start()
        daemon.run("belay-bench", "run", "--record", record, "--keys", 50, "--reads", 0, "--count",
                   2000, "--ack", "disk", "--prefix", "a:")
        printed = daemon.run("belay-bench", "audit", record)
        check(re.search(r"^disk +acked=2000 lost=0 stale=0 wrong=0 resurrected=0$", printed,
                        re.MULTILINE), printed)
        with native.Connection(daemon.native) as connection:
            swapped = connection.get(key_of("a:", 1))
            connection.put(key_of("a:", 2), swapped)
            connection.put(key_of("a:", 3), swapped[:-1])
        daemon.run("belayctl", "session", "del", key_of("a:", 4).decode())
        printed = daemon.run("belay-bench", "audit", record, expect=1)
        check(re.search(r"^all +acked=2000 lost=1 stale=0 wrong=2 resurrected=0$", printed,
                        re.MULTILINE), printed)


def acknowledged(record):
    """(time in us, key, count) of what the record has as acknowledged."""
    entries = record.read_bytes()[256:]
    return [(time_us, key, count) for time_us, key, count, what, _, _, _
            in struct.iter_unpack("<QQQBBHI", entries[:len(entries) // 32 * 32]) if what == 2]


def test_audit_tells_how_old_the_missing_is():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = Path(scratch) / "record"
        daemon.start()
        with native.Connection(daemon.native) as connection:
            load = subprocess.Popen([program("belay-bench"), "run", "--server", daemon.native, "--record", record, "--keys",
                                     "20", "--reads", "0", "--prefix", "a:", "--seconds", "600"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            wait_for("a thousand entries", lambda: record.exists() and record.read_bytes()[256 + 32000:256 + 32032].strip(b"\0"))
            early = connection.get(key_of("a:", 3))
            wait_for("it is written again", lambda: connection.get(key_of("a:", 3)) != early)
            load.terminate()
            load.wait()
            acked = acknowledged(record)
            end_us = max(time_us for time_us, _, _ in acked)

            def oldest_ms(expect):
                audited = json.loads(daemon.run("belay-bench", "audit", record, "--json", expect=expect))
                documented(audited)
                return audited["oldest_missing_ms"], audited["all"]

            check(oldest_ms(0)[0] == 0, "nothing is missing")
            connection.put(key_of("a:", 3), early)
            found, row = oldest_ms(1)
            first_us = min(time_us for time_us, key, count in acked
                           if key == 3 and count > int.from_bytes(early[12:20], "little"))
            check(row["stale"] == 1 and abs(found - (end_us - first_us) / 1000) < 0.01, (found, end_us - first_us, row))
            daemon.run("belayctl", "session", "del", key_of("a:", 4).decode())
            found, row = oldest_ms(1)
            first_us = min(time_us for time_us, key, _ in acked if key == 4)
            check(row["lost"] == 1 and abs(found - (end_us - first_us) / 1000) < 0.01, (found, end_us - first_us, row))
        text = daemon.run("belay-bench", "audit", record, expect=1)
        check(f"the oldest was acknowledged {found:.1f} ms before the last" in text, text)


def test_audit_names_some():
    """Of many keys with which something is wrong ten are named, and the others counted."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = Path(scratch) / "record"
        daemon.start()
        daemon.run("belay-bench", "run", "--record", record, "--keys", 50, "--reads", 0, "--count", 2000,
                   "--ack", "disk", "--prefix", "a:")

        def named(lost):
            for number in range(lost):
                daemon.run("belayctl", "session", "del", key_of("a:", number).decode(), expect=None)
            done = subprocess.run([program("belay-bench"), "audit", record, "--server", daemon.native],
                                  capture_output=True, text=True, timeout=120, check=False)
            check(done.returncode == 1 and f" lost={lost} " in done.stdout, done.stdout)
            lines = done.stderr.splitlines()
            return len([line for line in lines if re.search(r"key \d+ is lost", line)]), [line for line in lines if "more keys" in line]

        check(named(10) == (10, []), "ten")
        check(named(13) == (10, ["belay-bench: and 3 more keys"]), "more")


def test_values_of_others_are_told_once():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        daemon.start()
        daemon.run("belay-bench", "fill", "--sessions", 100)
        done = bench("run", "--record", str(Path(scratch) / "record"), "--keys", "100", "--count", "2000",
                     server=daemon.native)
        told = [line for line in done.stderr.splitlines() if " is wrong: " in line]
        check(done.returncode == 1 and len(told) == 10, done)
        check(done.stderr.count("--prefix") == 1, done.stderr)


def test_compare_measures_both():
    """Not what it finds in so short a time, but that it finds something for every figure."""
    if SLOWNESS != 1:
        return  # A node with a sanitizer may be too slow for redis-benchmark, and it is the script that is shown here.
    done = subprocess.run([tree.TOP / "tools/bench/compare", "--sessions", "20000", "--seconds", "0.1",
                           "--rounds", "1"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=200, check=False)
    check(done.returncode in (0, 1) and not done.stderr, done)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()
             if line.startswith("| ")]
    check(table[0][:5] == ["figure", "Belay", "Redis", "ratio", "aim"] and len(table) == 28, done.stdout)
    for figure, belay, redis, ratio, *_ in table[2:]:
        numbers = [float(re.match(r"[\d.,]+", cell)[0].replace(",", "")) for cell in (belay, redis)]
        # Processor time comes in ticks: of a node that hardly ran in that time it is 0.
        check((min(numbers) > 0 or "CPU" in figure) and re.fullmatch(r"\d+\.\d\d", ratio), (figure, belay, redis, ratio))
    check(sum(row[4].startswith("<=") and row[5] in ("ok", "MISSED") for row in table) == 8, done.stdout)


def test_bad_records_are_refused():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        daemon.start()
        path = Path(scratch) / "record"
        for content in (b"", b"short", bytes(4096), os.urandom(4096)):
            path.write_bytes(content)
            daemon.run("belay-bench", "audit", path, expect=2)
        daemon.run("belay-bench", "audit", path.with_name("none"), expect=2)


if __name__ == "__main__":
    run_cases(__name__)
