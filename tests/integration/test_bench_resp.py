"""belay-bench --protocol resp: against belayd and against redis-server, which it must see alike."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from cases import long, run_cases
from cluster import NOBODY_FAILS, Cluster
from daemon import SLOWNESS, Daemon, check, program, reserve_port, wait_for
from redis_kit import Client, Redis, port_of


def bench(port, *words, expect=0, environment=None):
    """Returns what it printed; with expect=None all that is known of its end."""
    done = subprocess.run([program("belay-bench"), words[0], "--protocol", "resp", "--server",
                           f"127.0.0.1:{port}", *map(str, words[1:])], stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})}, capture_output=True, text=True,
                          timeout=60 * SLOWNESS, check=False)
    check(expect is None or done.returncode == expect, done)
    return done if expect is None else done.stdout


@contextmanager
def load_on(port, *words):
    """Load in the background, for document_of()."""
    load = subprocess.Popen([program("belay-bench"), "run", "--protocol", "resp", "--server",
                             f"127.0.0.1:{port}", "--json", *map(str, words)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield load
    finally:
        load.kill()
        load.communicate()


def document_of(load, expect):
    """End it, and read what it says."""
    load.send_signal(signal.SIGINT)
    printed = load.communicate(timeout=60 * SLOWNESS)[0]
    check(load.returncode == expect or (expect is None and load.returncode in (0, 1)), printed)
    return json.loads(printed)


@contextmanager
def belay():
    with Daemon() as daemon:
        daemon.start()
        yield port_of(daemon)


@contextmanager
def redis():
    with Redis() as server:
        yield server.port


SERVERS = (belay, redis)


def key_of(prefix, number):
    return (prefix + str(number).zfill(28 - len(prefix))).encode()


def test_fill_and_check():
    for server in SERVERS:
        with server() as port, Client(port) as client:
            filled = json.loads(bench(port, "fill", "--sessions", 1000, "--ttl", 500, "--short", "30:50", "--json"))
            check(filled["written"] == 1000 and filled["errors"] == {} and filled["server_rss_bytes"] > 0, filled)
            check(client.ask("DBSIZE") == 1000, "as many keys")
            lives = [client.ask("TTL", key_of("bench:", i)) for i in range(1000)]
            check(200 < sum(left <= 50 for left in lives) < 400 and min(lives) > 0 and max(lives) > 400, lives)
            check(bench(port, "check", "--sessions", 1000) == "present=1000 lost=0 wrong=0\n", server)
            client.ask("SET", key_of("bench:", 3), "something else")
            client.ask("DEL", key_of("bench:", 5))
            check(bench(port, "check", "--sessions", 1000, expect=1) == "present=998 lost=1 wrong=1\n", server)


def test_both_protocols_write_the_same():
    with Daemon() as daemon:
        daemon.start()
        bench(port_of(daemon), "fill", "--sessions", 300, "--value-bytes", 100)
        printed = daemon.run("belay-bench", "check", "--sessions", 300, "--value-bytes", 100)
        check(printed == "present=300 lost=0 wrong=0\n", printed)
        daemon.run("belay-bench", "fill", "--sessions", 300, "--seed", 2)
        check(bench(port_of(daemon), "check", "--sessions", 300, "--seed", 2) == "present=300 lost=0 wrong=0\n",
              "filled by libbelay")


def test_run():
    for server in SERVERS:
        with server() as port:
            bench(port, "fill", "--sessions", 500)
            result = json.loads(bench(port, "run", "--count", 50000, "--keys", 500, "--reads", 80, "--pipeline", 4,
                                      "--connections", 7, "--json"))
            check(result["protocol"] == "resp" and result["operations"] == 50000 and result["misses"] == 0, result)
            check(result["acked"] == {"memory": result["writes"]} and 39000 < result["reads"] < 41000, result)
            check(result["errors"] == {} and result["sessions"] == 500, result)
            check(result["server_cpu_us_per_operation"] > 0 and result["server_rss_bytes"] > 0, result)
            latency = result["latency"]
            check(latency["count"] == 50000 and 0 < latency["p50_us"] <= latency["max_us"], latency)
            deletes = json.loads(bench(port, "run", "--count", 2000, "--keys", 500, "--reads", 0, "--deletes", 100,
                                       "--json"))
            check(deletes["writes"] == 2000 and deletes["sessions"] < 100, deletes)


def test_large_values_and_a_rate():
    """A megabyte does not fit into one write to the socket; in between other lines go on."""
    for server in SERVERS:
        with server() as port:
            words = ["--value-bytes", 1000000, "--seed", 7]
            bench(port, "fill", "--sessions", 20, "--connections", 3, "--pipeline", 2, *words)
            check(bench(port, "check", "--sessions", 20, *words) == "present=20 lost=0 wrong=0\n", server)
            paced = json.loads(bench(port, "run", "--count", 300, "--rate", 1000, "--keys", 20, "--connections", 2,
                                     "--json"))
            check(paced["operations"] == 300 and paced["seconds"] > 0.25, paced)


def test_record_and_audit():
    for server in SERVERS:
        with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, server() as port, Client(port) as client:
            record = Path(scratch) / "record"
            result = json.loads(bench(port, "run", "--record", record, "--keys", 50, "--reads", 30, "--count", 3000,
                                      "--deletes", 20, "--prefix", "a:", "--pipeline", 3, "--json"))
            check(result["record_reads"] == {"lost": 0, "resurrected": 0, "stale": 0, "wrong": 0}, result)
            check(re.search(r"^memory +acked=\d+ lost=0 stale=0 wrong=0 resurrected=0$", bench(port, "audit", record),
                            re.MULTILINE), "audit")
            there = [number for number in range(50) if client.ask("EXISTS", key_of("a:", number))]
            first, second, third = there[:3]
            client.ask("SET", key_of("a:", second), client.ask("GET", key_of("a:", first)))
            client.ask("DEL", key_of("a:", third))
            printed = bench(port, "audit", record, expect=1)
            check(re.search(r"^all +acked=\d+ lost=1 stale=0 wrong=1 resurrected=0$", printed, re.MULTILINE), printed)


def requests_of(node):
    return sum(float(line.split()[-1]) for line in node.http("/metrics")[1].splitlines()
               if line.startswith("belay_requests_total{"))


@long
def test_cluster():
    """Each request goes to the node that has its key's slot, also once another one has it: a node that was drained is not asked any
    more. A server that is no cluster is told of."""
    with Cluster(3, settings=NOBODY_FAILS) as cluster, tempfile.TemporaryDirectory(prefix="belay-test-") as scratch:
        cluster.start()
        port = cluster[0].ready["cluster"].rsplit(":", 1)[1]
        filled = json.loads(bench(port, "fill", "--cluster", "--sessions", 1000, "--json"))
        check(filled["written"] == 1000 and not filled["errors"], filled)
        record = Path(scratch) / "record"
        with load_on(port, "--cluster", "--record", record, "--keys", 2000, "--rate", 2000, "--reads", 50, "--seconds", 600,
                     "--prefix", "a:") as load:
            asked = requests_of(cluster[2])
            wait_for("the last one is asked", lambda: requests_of(cluster[2]) > asked + 100)
            cluster[0].run("belayctl", "node", "drain", "n3", "--wait")

            def is_left_alone():
                before = requests_of(cluster[2]), requests_of(cluster[0])
                wait_for("another one is asked", lambda: requests_of(cluster[0]) > before[1] + 500)
                return requests_of(cluster[2]) == before[0]

            wait_for("it is left alone", is_left_alone)
            result = document_of(load, expect=0)
        check(not result["errors"] and result["disconnects"] == 0, result)
        check(sum(result["record_reads"].values()) == 0, result)
        check(bench(port, "check", "--cluster", "--sessions", 1000) == "present=1000 lost=0 wrong=0\n", "check")
        check(" lost=0 stale=0 wrong=0 resurrected=0" in bench(port, "audit", record, "--cluster"), "audit")
    with redis() as port:
        done = bench(port, "run", "--cluster", expect=None)
        check(done.returncode == 1 and "cluster support disabled" in done.stderr, done)
    for wrong in (("--cluster", "--protocol", "native"), ("--cluster", "--wait", 1)):
        check(bench(1, "run", *wrong, expect=None).returncode == 2, wrong)


def test_no_resurrect_is_no_loss():
    """After a delete the session is created by SET NX, whose refusal can be told from success."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch:
        config = Path(scratch) / "belayd.conf"
        config.write_text('[policy "a:"]\nno_resurrect = yes\n')
        with Daemon(config=config) as daemon:
            daemon.start()
            record = Path(scratch) / "record"
            words = ["--record", record, "--keys", 100, "--reads", 50, "--count", 4000, "--deletes", 20,
                     "--prefix", "a:"]
            result = json.loads(bench(port_of(daemon), "run", *words, "--json", expect=1))
            check(set(result["errors"]) == {"DESTROYED"}, result)
            check(sum(result["record_reads"].values()) == 0, result)
            check(" lost=0 stale=0 wrong=0 resurrected=0" in bench(port_of(daemon), "audit", record), "audit")


def test_a_killed_belayd_loses_nothing():
    """What was acknowledged over RESP is there after kill -9, and what was not known is left alone."""
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Daemon() as daemon:
        record = Path(scratch) / "record"
        daemon.start()
        words = ["--record", record, "--keys", 3000, "--reads", 20, "--deletes", 20, "--pipeline", 4, "--ttl", 3600,
                 "--seconds", 600, "--timeout-ms", 500]
        with load_on(port_of(daemon), *words) as load:
            wait_for("a thousand entries", lambda: record.exists()
                     and record.read_bytes()[256 + 32000:256 + 32032].strip(b"\0"))
            daemon.kill()
            document_of(load, expect=None)
        daemon.start()
        printed = bench(port_of(daemon), "audit", record)
        check(re.search(r"^all +acked=\d+ lost=0 stale=0 wrong=0 resurrected=0$", printed, re.MULTILINE), printed)


def calls(client, command):
    """How many of them this redis-server has seen."""
    found = re.search(rb"cmdstat_%s:calls=(\d+)" % command, client.ask("INFO", "commandstats"))
    return int(found[1]) if found else 0


def test_a_lost_connection_is_made_anew():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch, Redis() as server:
        record = Path(scratch) / "record"
        with load_on(server.port, "--record", record, "--keys", 5000, "--reads", 50, "--seconds", 600) as load:
            with Client(server.port) as client:
                wait_for("it writes", lambda: calls(client, b"set") > 100)
                killed = client.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                before = calls(client, b"set")
                wait_for("it writes again", lambda: calls(client, b"set") > before + 100)
            server.kill()
            server.launch()
            server.await_ready()
            with Client(server.port) as client:
                wait_for("it writes to the new one", lambda: calls(client, b"set") > 0)
            result = document_of(load, expect=1)
        check(0 < killed < result["disconnects"] and result["errors"]["DISCONNECTED"] > 0, result)
        # This Redis keeps nothing over a restart, and the audit says so.
        audited = bench(server.port, "audit", record, expect=None).stdout
        lost = re.search(r"^all +acked=\d+ lost=(\d+)", audited, re.MULTILINE)
        check(int(lost[1]) > 0, lost)


def test_answers_that_do_not_come_in_time():
    with Redis() as server, Client(server.port) as client:
        with load_on(server.port, "--keys", 100, "--seconds", 600, "--timeout-ms", 200, "--connections", 4) as load:
            wait_for("it works", lambda: calls(client, b"get") > 0)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(2) # Many times --timeout-ms, however slow the machine is.
            server.process.send_signal(signal.SIGCONT)
            before = calls(client, b"get")
            wait_for("it goes on", lambda: calls(client, b"get") > before + 100)
            result = document_of(load, expect=1)
        check(result["errors"]["TIMEOUT"] >= 4, result)


class Mute:
    """Says what it is, and answers nothing else."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()
        return self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def serve(client):
        with client:
            while data := client.recv(65536):
                client.sendall(b"$4\r\nINFO\r\n" * data.count(b"INFO") + b":5\r\n" * data.count(b"DBSIZE"))


def test_a_server_that_never_answers():
    """Requests that are under way at the end count as well."""
    with Mute() as port:
        done = bench(port, "run", "--seconds", 1, "--timeout-ms", 1500, "--connections", 4, "--json", expect=None)
        check(done.returncode == 1 and json.loads(done.stdout)["errors"] == {"TIMEOUT": 4}, done)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = bench(silent.getsockname()[1], "run", "--timeout-ms", 200, expect=None)
        check(done.returncode == 3 and "no answer within --timeout-ms" in done.stderr, done)


def test_errors_are_named():
    with Redis(settings=[("maxmemory", "100mb")]) as server, Client(server.port) as client:
        client.ask("HSET", key_of("bench:", 0), "field", "value")
        wrong = bench(server.port, "run", "--keys", 1, "--reads", 100, "--count", 10, "--json", expect=None)
        check(wrong.returncode == 1 and json.loads(wrong.stdout)["errors"] == {"WRONG_TYPE": 10}, wrong)
        client.ask("CONFIG", "SET", "maxmemory", "1mb")
        full = bench(server.port, "run", "--reads", 0, "--count", 10, "--json", expect=None)
        check(full.returncode == 1 and json.loads(full.stdout)["errors"] == {"MEMORY_FULL": 10}, full)
    with reserve_port() as bus, \
            Redis(settings=[("cluster-enabled", "yes"), ("cluster-port", bus.getsockname()[1])]) as server:
        unknown = bench(server.port, "run", "--reads", 100, "--count", 10, expect=None)
        check(unknown.returncode == 1 and "INVALID 10" in unknown.stdout, unknown)
        check(unknown.stderr.count("INVALID: CLUSTERDOWN") == 1, unknown)


def test_users():
    with tempfile.TemporaryDirectory(prefix="belay-test-") as scratch:
        secret = Path(scratch) / "secret"
        user = {"BELAY_USER": "default", "BELAY_PASSWORD_FILE": str(secret)}
        with Redis(settings=[("requirepass", "open sesame")]) as server:
            nobody = bench(server.port, "run", "--count", 100, expect=None)
            check(nobody.returncode == 1 and "NOAUTH" in nobody.stderr, nobody)
            secret.write_text("closed sesame\n")
            stranger = bench(server.port, "run", "--count", 100, expect=None, environment=user)
            check(stranger.returncode == 1 and "WRONGPASS" in stranger.stderr, stranger)
            secret.write_text("open sesame\n")
            check("errors      0" in bench(server.port, "run", "--count", 100, environment=user), "with the password")


def test_writes_that_wait_for_replicas():
    with Redis() as primary:
        following = [("replicaof", f"127.0.0.1 {primary.port}")]
        with Redis(settings=following) as replica, Client(replica.port) as client:
            wait_for("the replica follows", lambda: b"master_link_status:up" in client.ask("INFO", "replication"))
            words = ("run", "--count", 400, "--keys", 50, "--reads", 40, "--deletes", 20, "--value-bytes", 64, "--json")
            result = json.loads(bench(primary.port, *words, "--wait", 1))
            check(result["acked"] == {"replica": result["writes"]} and result["reads"] > 50, result)
            check(len(result["gaps_us"]) == 50 and all(gap > 0 for gap in result["gaps_us"]), result)
            plain = json.loads(bench(primary.port, *words))
            check(plain["acked"] == {"memory": plain["writes"]}, plain)
            # Where there are not so many it is acknowledged all the same, and said how far it came.
            few = json.loads(bench(primary.port, "run", "--count", 4, "--reads", 0, "--wait", 2, "--timeout-ms", 1000,
                                   "--json", expect=0))
            check(few["acked"] == {"memory": 4}, few)
    wrong = subprocess.run([program("belay-bench"), "run", "--wait", "1"], capture_output=True, text=True, check=False)
    check(wrong.returncode == 2 and "--wait is a command of RESP" in wrong.stderr, wrong)


def await_work(daemon):
    """Until it has answered all connections many times more."""
    before = daemon.cpu_seconds()
    wait_for("it works", lambda: daemon.cpu_seconds() > before + 0.2)


def test_gaps_tell_of_a_server_that_stood_still():
    with Daemon() as daemon:
        daemon.start()
        with load_on(port_of(daemon), "--connections", 4, "--seconds", 60, "--reads", 50) as load:
            await_work(daemon)
            daemon.send(signal.SIGSTOP)
            time.sleep(0.5) # What the gaps have to show, but for an answer that came late.
            daemon.send(signal.SIGCONT)
            await_work(daemon)
            result = document_of(load, 0)
        check(len(result["gaps_us"]) == 4 and all(gap >= 400000 for gap in result["gaps_us"]), result)


if __name__ == "__main__":
    run_cases(__name__)
