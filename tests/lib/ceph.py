"""A Ceph of one monitor, one OSD and one RADOS gateway: an S3 server as others run it, on loopback.

    with Ceph() as ceph:
        ceph.make_bucket("bucket")
        objects.Objects(ceph.options(bucket="bucket"))

What it keeps is in memory, and in files of a directory that goes with it. No systemd, no cephx, no manager daemon. It can
be made to fail: refuse(), freeze(), stall(), slow_down(), suspend_user(), each with what undoes it.

Debian's packages: radosgw ceph-mon ceph-osd.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from daemon import SLOWNESS, check, reserve_port, wait_for
from s3_requests import S3

COMMAND_TIMEOUT_S = 90 * SLOWNESS
# Some of its programs are in Python, and are not to look here for what they import.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
USER = "tester"

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port}/0]
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_bind_msgr1 = false
# The gateway would ask for an encrypted session with the monitor, which needs cephx.
ms_mon_client_mode = crc
run_dir = {directory}/run
admin_socket = {directory}/run/$name.asok
log_file = {directory}/log/$name.log
crash_dir = {directory}/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true

[mon]
mon_data = {directory}/mon
mon_cluster_log_file = {directory}/log/cluster.log
mon_data_avail_crit = 1
mon_data_avail_warn = 1
mon_max_pg_per_osd = 1000
# Changes of the maps are agreed on at once: there is nobody to wait for.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01

[osd]
osd_data = {directory}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296

[client]
rgw_data = {directory}/rgw
rgw_rados_pool_pg_num_min = 1
# How soon a request is sent again after the OSD came back.
objecter_tick_interval = 0.2

[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_thread_pool_size = 64
rgw_run_sync_thread = false
rgw_enable_lc_threads = false
"""


class Ceph(S3):
    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.processes = {}
        self.held_put = None

    def __enter__(self):
        with self.stack:
            self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="belay-ceph-",
                                                                                       ignore_cleanup_errors=True)))
            self.stack.callback(self._end)
            ports = [self.stack.enter_context(reserve_port()) for _ in range(2)]
            self.mon_port, port = (held.getsockname()[1] for held in ports)
            super().__init__(f"127.0.0.1:{port}", "testkey", "testsecret")
            self._begin(port)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, _, failure, *__):
        if getattr(failure, "code", failure): # Not so SystemExit(0).
            print(f"--- log of the gateway\n{self._log()}---", flush=True)
        self.stack.close()

    def _log(self):
        path = self.directory / "log" / "client.rgw.log"
        return path.read_text(errors="replace")[-10000:] if path.exists() else ""

    # ---- Its programs ----

    def _run(self, *command):
        done = subprocess.run([*command, "-c", str(self.directory / "ceph.conf")], stdin=subprocess.DEVNULL,
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        check(done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _launch(self, name, *command):
        with open(self.directory / "log" / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen([*command, "-f", "-c", str(self.directory / "ceph.conf")],
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _end(self):
        self._let_go()
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _begin(self, port):
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("run", "log", "crash", "mon", "osd", "rgw"):
            (self.directory / name).mkdir()
        (self.directory / "ceph.conf").write_text(CONFIGURATION.format(
            fsid=fsid, mon_port=self.mon_port, port=port, directory=self.directory))
        monitors = str(self.directory / "monmap")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{self.mon_port}/0]",
                  monitors)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors)
        self._launch("mon", "ceph-mon", "-i", "a")
        self._run("ceph", "osd", "new", osd, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._launch("osd", "ceph-osd", "-i", "0") # It looks for free ports itself (ms_bind_port_min).
        self._run("radosgw-admin", "user", "create", "--uid", USER, "--display-name", USER,
                  "--access-key", self.access_key, "--secret-key", self.secret_key)
        self.accept()

    # ---- Faults ----

    def _send(self, name, number):
        self.processes[name].send_signal(number)

    def refuse(self):
        """The gateway is killed: nobody listens. What it kept is the OSD's."""
        self.processes["rgw"].kill()
        self.processes["rgw"].wait()

    def accept(self):
        self._launch("rgw", "radosgw", "-n", "client.rgw")

        def answers():
            check(self.processes["rgw"].poll() is None, f"the gateway ended\n{self._log()}")
            try:
                return self.ask("GET", "/")[0] == 200
            except OSError:
                return False
        wait_for("the gateway answers", answers, 90)

    def freeze(self):
        """The gateway is stopped: it connects, and says nothing."""
        self._send("rgw", signal.SIGSTOP)

    def thaw(self):
        self._send("rgw", signal.SIGCONT)

    def stall(self):
        """The OSD is stopped: the gateway takes requests, and waits with them."""
        self._send("osd", signal.SIGSTOP)

    def unstall(self):
        self._send("osd", signal.SIGCONT)

    def _configure(self, name, value):
        done = subprocess.run(["ceph", "--admin-daemon", str(self.directory / "run" / "client.rgw.asok"),
                               "config", "set", name, str(value)],
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        check(done.returncode == 0 and "success" in json.loads(done.stdout), done.stdout + done.stderr)

    def slow_down(self, bucket):
        """One request at a time, and that is a PUT which never ends: all others are answered 503 SlowDown."""
        self._configure("rgw_max_concurrent_requests", 1)
        path = f"/{bucket}/held"
        host, port = self.address.split(":")

        def is_held():
            """The slot may be somebody else's just then."""
            self._let_go()
            self.held_put = socket.create_connection((host, int(port)))
            headers = {**self.headers("PUT", path, {}, "UNSIGNED-PAYLOAD"), "content-length": "1000"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.held_put.sendall(f"PUT {path} HTTP/1.1\r\n{lines}\r\n".encode() + b"x")
            for _ in range(100):
                if self.ask("GET", "/")[0] == 503:
                    return True
                time.sleep(0.01)
            return False
        wait_for("the gateway says SlowDown", is_held)

    def _let_go(self):
        if self.held_put is not None:
            self.held_put.close()
            self.held_put = None

    def speed_up(self):
        self._let_go()
        self._configure("rgw_max_concurrent_requests", 1024)

    def suspend_user(self):
        self._run("radosgw-admin", "user", "suspend", "--uid", USER)
        wait_for("the user is suspended", lambda: self.ask("GET", "/")[0] == 403)

    def resume_user(self):
        self._run("radosgw-admin", "user", "enable", "--uid", USER)
        wait_for("the user may go on", lambda: self.ask("GET", "/")[0] == 200)
