"""belayd as a program: options, configuration errors, ready line, HTTP, signals, its data directory."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import native
from cases import long, run_cases
from daemon import BUILD, Daemon, check, program, wait_for
from redis_kit import Client, port_of

BELAYD = str(BUILD / "belayd")
DENY_IO_URING = str(BUILD / "tests/integration/deny_io_uring")


def run(*arguments):
    return subprocess.run([BELAYD, *arguments], capture_output=True, text=True, timeout=60,
                          check=False)


def test_options():
    version = run("--version")
    check(version.returncode == 0 and re.fullmatch(r"belayd \d+\.\d+\.\d+\n", version.stdout),
          version)
    usage = run("--help")
    check(usage.returncode == 0 and "--config" in usage.stdout and "--join" in usage.stdout,
          usage)
    for arguments in (["--nonsense"], ["argument"], ["--set"], ["--print", "nonsense"]):
        wrong = run(*arguments)
        check(wrong.returncode == 2 and wrong.stderr and not wrong.stdout, wrong)
    join = run("--join", "token")
    check(join.returncode == 2 and "no join token" in join.stderr, join)


def shell(command):
    return subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)


@long
def test_standard_streams():
    """What is printed and does not arrive is an error of every program; closed streams are none."""
    programs = [program(name) for name in ("belayd", "belayctl", "belay-bench")]
    for name in programs:
        for option in ("--help", "--version"):
            lost = shell(f"{name} {option} >/dev/full")
            check(lost.returncode == 1 and "No space left on device" in lost.stderr, (name, lost))
            done = shell(f"{name} {option} <&- >&- 2>&-")
            check(done.returncode == 0, (name, option, done))
    for what in ("example", "config", "metrics"):
        lost = shell(f"{BELAYD} --print {what} >/dev/full")
        check(lost.returncode == 1 and "standard output" in lost.stderr, lost)
    with Daemon() as daemon:
        daemon.start()
        ctl = f"{programs[1]} --server {daemon.native}"
        small = f"{programs[2]} run --server {daemon.native} --seconds 0.1 --connections 1 --keys 10"
        shell(f"{ctl} session put user:1 one")
        for command in (f"{ctl} status", f"{ctl} --json status", f"{ctl} session get user:1",
                        f"{ctl} session get user:1 --raw", f"{ctl} session list", small,
                        f"{small} --json"):
            lost = shell(f"{command} >/dev/full")
            check(lost.returncode == 1 and lost.stderr.count("standard output") == 1, (command, lost))
            for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
                done = shell(f"{command} {closed}")
                check(done.returncode == 0, (command, closed, done))


def test_daemon_without_streams():
    """Its connections and files never come to lie where it prints."""
    for closed in ("2>&-", "<&- 2>&-"):
        with Daemon(wrapper=["sh", "-c", f'exec "$0" "$@" {closed}']) as daemon:
            daemon.start()
            daemon.run("belayctl", "session", "put", "user:1", "one")
            check(daemon.stop() == 0, "stops cleanly")


def test_bad_configuration():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as directory:
        path = Path(directory) / "belayd.conf"
        path.write_text("[listen]\nport = 0\n\nprot = 1\n")
        for arguments in ([], ["--check-config"]):
            wrong = run("--config", str(path), *arguments)
            check(wrong.returncode == 2, wrong)
            check(f"{path}:4: unknown key 'prot' in [listen]" in wrong.stderr, wrong)
        path.write_text("[listen]\nport = 0\n")
        good = run("--config", str(path), "--check-config")
        check(good.returncode == 0 and good.stdout == f"{path}: ok\n", good)
        wrong = run("--config", str(path), "--set", "listen.port=x")
        check(wrong.returncode == 2 and "--set listen.port=x" in wrong.stderr, wrong)
        missing = run("--config", str(path) + ".not")
        check(missing.returncode == 2 and "No such file" in missing.stderr, missing)


def test_print_config():
    shown = run("--set", 'policy "web:".idle_ttl=30m', "--set", "listen.port=0", "--print", "config")
    config = json.loads(shown.stdout)
    check(config["policy"]["web:"]["idle_ttl"] == "30m", config)
    check(config["listen"]["port"] == 0 and config["node"]["shards"] >= 1, config)


def test_ready_and_stop():
    with Daemon() as daemon:
        daemon.start()
        ready = daemon.ready
        check(list(ready) == ["name", "native", "cluster", "peer", "http", "pid"], ready)
        check(ready["name"] == "test" and ready["pid"] == str(daemon.pid), ready)
        for place in ("native", "http"):
            check(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", ready[place]), ready)
        check(daemon.stop() == 0, daemon.log())
        check(" stopping signal=SIGTERM" in daemon.log(), daemon.log())
        daemon.start() # The same directory again, after a clean stop.
        daemon.send(signal.SIGHUP)
        wait_for("a line about SIGHUP", lambda: "users-reloaded users=0" in daemon.log())
        daemon.send(signal.SIGINT)
        check(daemon.wait() == 0, daemon.log())
        daemon.start()
        check(daemon.kill() == -signal.SIGKILL, daemon.log())
        daemon.start()
        check(daemon.stop() == 0, daemon.log())


def test_log_is_json():
    with Daemon(settings=["log.format=json"]) as daemon:
        daemon.start()
        check(daemon.stop() == 0, daemon.log())
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        check({"time", "level", "event"} <= set(lines[0]), lines)
        check("stopping" in [line["event"] for line in lines], lines)


def test_second_daemon():
    with Daemon() as daemon:
        daemon.start()
        with Daemon(directory=daemon.directory / "second") as second:
            second.directory.mkdir()
            second.settings.append(f"storage.dir={daemon.data}")
            second.launch()
            check(second.wait() == 1, second.log())
            check(str(daemon.data) in second.log(), second.log())
            (daemon.data / "LOCK").unlink()  # Whoever tidies up does not let it in, either.
            second.launch()
            check(second.wait() == 1 and "in use by process" in second.log(), second.log())
        check(daemon.http("/readyz")[0] == 200, "the first one goes on")
        check(daemon.stop() == 0, daemon.log())


def test_port_taken():
    with Daemon() as daemon, Daemon() as other:
        daemon.start()
        for place, key in (("native", "port"), ("http", "http_port")):
            taken = daemon.ready[place].rsplit(":", 1)[1]
            other.settings.append(f"listen.{key}={taken}")
            other.launch()
            check(other.wait() == 1, other.log())
            check("Address already in use" in other.log() and taken in other.log(), other.log())
            other.settings.append(f"listen.{key}=0")
        # No stamp was given out: neither a crash nor another life of the node.
        other.start()
        check(other.stop() == 0, other.log())
        starts = re.findall(r" actor_start=(\d+) .* last_stop=(\w+)", other.log())
        check(starts == [("1", "new"), ("1", "clean"), ("1", "clean")], starts)


def test_http():
    with Daemon() as daemon:
        daemon.start()
        check(daemon.http("/healthz")[:2] == (200, "ok\n"), "healthz")
        check(daemon.http("/readyz")[:2] == (200, "ready\n"), "readyz")
        status, text, headers = daemon.http("/metrics")
        check(status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"),
              headers)
        check('belay_sessions{shard="1"} 0\n' in text and "belay_ready 1\n" in text, text)
        check(daemon.http("/nothing")[0] == 404, "404")
        status, _, headers = daemon.http("/metrics", method="POST")
        check(status == 405 and headers["Allow"] == "GET, HEAD", headers)
        status, text, headers = daemon.http("/metrics", method="HEAD")
        check(status == 200 and text == "" and int(headers["Content-Length"]) > 1000, headers)
        check(daemon.stop() == 0, daemon.log())


def test_promtool():
    with Daemon() as daemon:
        daemon.start()
        checked = subprocess.run(["promtool", "check", "metrics"], input=daemon.http("/metrics")[1],
                                 capture_output=True, text=True, timeout=60, check=False)
        check(checked.returncode == 0 and not checked.stderr and not checked.stdout, checked)


def test_io_uring_denied():
    """Where the kernel refuses io_uring, it says exactly that, and what to allow."""
    with Daemon(wrapper=[DENY_IO_URING]) as daemon:
        daemon.launch()
        check(daemon.wait() == 1, daemon.log())
        check("io_uring" in daemon.log() and "not permitted" in daemon.log(), daemon.log())


def test_directory_not_writable():
    with Daemon(settings=["storage.dir=/proc/belay"]) as daemon:
        daemon.launch()
        check(daemon.wait() == 1, daemon.log())
        check("/proc/belay" in daemon.log(), daemon.log())


@long
def test_another_number_of_shards():
    with Daemon(shards=3) as daemon:
        for shards in (3, 1, 4):
            daemon.settings.append(f"node.shards={shards}")
            daemon.start()
            tool = [program("belayctl"), "-s", daemon.native, "session"]
            for number in range(50):
                command = "get" if shards != 3 else "put"
                ran = subprocess.run([*tool, command, f"key-{number}",
                                      *([f"value-{number}"] if shards == 3 else [])],
                                     capture_output=True, text=True, timeout=60, check=False)
                check(ran.returncode == 0, ran)
                check(shards == 3 or f"value-{number}" in ran.stdout, ran)
            check(f'belay_connections{{shard="{shards - 1}"}}' in daemon.http("/metrics")[1], shards)
            check(daemon.kill() == -signal.SIGKILL if shards == 1 else daemon.stop() == 0,
                  daemon.log())
        check(" converted from=3 to=1 " in daemon.log(), daemon.log())
        check(" converted from=1 to=4 " in daemon.log(), daemon.log())


def test_service_manager():
    """READY, WATCHDOG and STOPPING reach the service manager's socket."""
    with Daemon() as daemon, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(daemon.directory / "notify")
        manager.bind(path)
        manager.settimeout(60)
        daemon.wrapper = ["env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=1000000"]
        daemon.start()
        check(manager.recv(4096).decode().startswith("READY=1"), "READY")
        check(manager.recv(4096).decode() == "WATCHDOG=1", "WATCHDOG")
        daemon.send(signal.SIGTERM)
        said = ["WATCHDOG=1"]
        while said[-1] == "WATCHDOG=1":
            said.append(manager.recv(4096).decode())
        check(said[-1] == "STOPPING=1", said)
        check(daemon.wait() == 0, daemon.log())


def test_ipv6():
    with Daemon(settings=["listen.address=::1"]) as daemon:
        daemon.start()
        check(re.fullmatch(r"\[::1\]:[1-9]\d*", daemon.native), daemon.ready)
        check(daemon.http("/readyz")[0] == 200, "readyz")
        with socket.create_connection(("::1", int(daemon.native.rsplit(":", 1)[1])), 10):
            pass
        check(daemon.stop() == 0, daemon.log())


def test_disk_full_is_not_ready():
    """At storage.disk_limit /readyz says so; when the log is compacted it is ready again by itself."""
    with Daemon(shards=1, settings=["storage.disk_limit=64MiB"]) as daemon:
        daemon.start()
        over = threading.Event()

        def fill():
            with Client(port_of(daemon)) as client:
                while not over.is_set():
                    client.ask_all(("SET", f"key:{i}", b"x" * 200_000) for i in range(100))
        fills = threading.Thread(target=fill)
        fills.start()
        try:
            reason = (503, "shard 0 has no room on the disk for its log; free some, or raise storage.disk_limit\n")
            wait_for("not ready", lambda: daemon.http("/readyz")[:2] == reason)
        finally:
            over.set()
            fills.join()
        check(" log-full " in daemon.log(), daemon.log())
        wait_for("room again", lambda: daemon.http("/readyz")[0] == 200)
        check(daemon.stop() == 0, daemon.log())


@long
def test_map_that_cannot_be_stored():
    """Sessions are served, and it is said."""
    with Daemon(shards=1) as daemon:
        bad = daemon.directory / "bad"
        daemon.wrapper = ["env", f"LD_PRELOAD={BUILD / 'tests/integration/bad_disk.so'}", f"BAD_DISK={bad}", "BAD_FILE=/raft/"]
        daemon.start()
        check(daemon.http("/readyz")[:2] == (200, "ready\n"), "well")
        bad.write_text("")
        daemon.run("belayctl", "policy", "set", "p:", "idle_ttl=1h", expect=1)
        said = daemon.http("/readyz")[:2]
        check(said == (200, "ready; degraded: changes of the cluster's map cannot be stored: Input/output error\n"), said)
        with Client(port_of(daemon)) as client:
            check(client.ask("SET", "k", "v") == b"OK", "sessions are served")


@long
def test_clock_that_was_ahead():
    """What was written under a clock that was an hour ahead keeps the next start there, and it is said."""
    with Daemon(shards=1) as daemon:
        daemon.wrapper = ["env", f"LD_PRELOAD={BUILD / 'tests/integration/clock_ahead.so'}", "CLOCK_AHEAD=3600"]
        daemon.start()
        check(" clock " not in daemon.run("belayctl", "status"), "the system's")
        daemon.run("belayctl", "session", "put", "k", "v", "--ack", "disk")
        daemon.stop()
        daemon.wrapper = []
        daemon.start()
        said = daemon.run("belayctl", "status")
        check(re.search(r" clock +(1h|59m 59s) ahead of the system's, until a start after that time", said), said)
        wait_for("it is told", lambda: " clock-differs ahead_of_system_ms=3" in daemon.log())
        check(daemon.document("status")["uptime_ms"] < 1800000, "since when it runs is no time of day")
        check("v" in daemon.run("belayctl", "session", "get", "k"), "it is served")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_many_keys_with_more_than_a_reply_takes():
    """Who asks for more than the output buffer holds is told so for each key; the connection goes on."""
    with Daemon(settings=["limits.output_buffer=1MiB"]) as daemon:
        daemon.start()
        with native.Connection(daemon.native) as connection:
            for i in range(8):
                connection.put(b"key-%d" % i, b"x" * 400000)
            keys = b"".join(native.string(b"key-%d" % i) for i in range(8))
            _, value = connection.call(native.GET_MANY, {}, keys)
            check(1000000 < len(value) < 2 << 20, len(value))
            check(value.count(b"together") == 8 - len(value) // 400000, value[-200:])
            check(connection.get(b"key-1") is not None, "the connection goes on")


def test_one_answer_larger_than_the_output_buffer():
    """A session may be larger than what may wait unread: its reader is no slow one."""
    settings = ["limits.output_buffer=1MiB", 'policy "".session_max_bytes=8MiB']
    with Daemon(settings=settings) as daemon:
        daemon.start()
        with native.Connection(daemon.native) as connection:
            large = b"x" * (5 << 20)
            connection.put(b"large", large)
            for _ in range(3):
                check(connection.get(b"large") == large, "the whole value")


def test_admin_too_long():
    """What is too long is said to be wrong, not put off."""
    with Daemon() as daemon:
        daemon.start()
        with native.Connection(daemon.native) as connection:
            for fields in ({1: b"c" * 4000}, {1: b"config", 2: b"a" * 4000}):
                head, _ = connection.call(native.ADMIN, fields)
                check(head.get(1) == native.INVALID, head)
            check(connection.call(native.ADMIN, {1: b"status"})[0].get(1, 0) == native.OK, "goes on")


def test_idle():
    """An idle daemon: at most 64 MiB and 1 % of a core."""
    with Daemon() as daemon:
        daemon.start()
        before = cpu_seconds(daemon.pid)
        try:
            daemon.process.wait(5) # It must not end: this only lets time pass.
        except subprocess.TimeoutExpired:
            pass
        used = cpu_seconds(daemon.pid) - before
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        resident_kib = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
        print(f"idle: {used / 5:.4f} of a core, {resident_kib} KiB")
        if "BELAY_SLOWNESS" not in os.environ: # Sanitizers take memory of their own.
            check(resident_kib <= 64 * 1024, f"{resident_kib} KiB")
        check(used <= 0.05, f"{used} s of CPU in 5 s")


if __name__ == "__main__":
    run_cases(__name__)
