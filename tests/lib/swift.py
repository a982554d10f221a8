"""An OpenStack Swift with its S3 interface (s3api), all in one, on loopback: one proxy, account, container and object
server, one replica. It knows no conditional PUT.

    with Swift() as swift:
        swift.make_bucket("bucket")
        objects.Objects(swift.options(bucket="bucket"))

Its directory has to lie on a file system with user's extended attributes (ext4, xfs, tmpfs of late).
Debian's packages: swift-proxy swift-account swift-container swift-object.
"""

import contextlib
import getpass
import socket
import subprocess
import tempfile
from pathlib import Path

from daemon import check, reserve_port, wait_for
from s3_requests import REGION, S3

PYTHON = "/usr/bin/python3" # Debian's, which has Debian's swift; it is not to look here for that.
ACCOUNT, USER, SECRET = "test", "tester", "testing"
PARTS = ("account", "container", "object")

CLUSTER = """
[swift-hash]
swift_hash_path_prefix = belay
swift_hash_path_suffix = belay

[storage-policy:0]
name = only
default = yes
"""

STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {directory}/etc
devices = {directory}/devices
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
log_address = {directory}/log/none
log_level = WARNING

[pipeline:main]
pipeline = {part}-server

[app:{part}-server]
use = egg:swift#{part}
"""

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {directory}/etc
log_address = {directory}/log/none
log_level = WARNING

[pipeline:main]
pipeline = catch_errors gatekeeper proxy-logging cache listing_formats bulk s3api tempauth slo dlo copy proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 30

[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{account_user} = {secret} .admin

[filter:s3api]
use = egg:swift#s3api
location = {region}
dns_compliant_bucket_names = true
check_bucket_owner = false
cors_preflight_allow_origin =

[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:proxy-logging]
use = egg:swift#proxy_logging
access_log_level = WARNING
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:copy]
use = egg:swift#copy
"""

# Where each part's server is to be found: what swift-ring-builder create, add and rebalance do. Arguments: the directory,
# and the ports.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for part, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1,
                         replication_ip="127.0.0.1", replication_port=int(port)))
    builder.rebalance()
    builder.get_ring().save("%s/%s.ring.gz" % (sys.argv[1], part))
"""

# The programs read swift.conf in /etc/swift; this is the same server with another directory, and a part's name.
SERVE = """
import sys
from swift.common import storage_policy, utils, wsgi
utils.set_swift_dir(sys.argv[1])
storage_policy.reload_storage_policies()
part = sys.argv[2]
more = {}
if part == "object":
    from swift.obj import server
    more["global_conf_callback"] = server.global_conf_callback
sys.exit(wsgi.run_wsgi("%s/%s-server.conf" % (sys.argv[1], part), part + "-server", **more))
"""


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Swift(S3):
    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.processes = []

    def __enter__(self):
        with self.stack:
            self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="belay-swift-",
                                                                                       ignore_cleanup_errors=True)))
            self.stack.callback(self._end)
            held = [self.stack.enter_context(reserve_port()) for _ in range(len(PARTS) + 1)]
            port, *ports = (each.getsockname()[1] for each in held)
            super().__init__(f"127.0.0.1:{port}", f"{ACCOUNT}:{USER}", SECRET)
            self._begin(port, ports)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, _, failure, *__):
        if getattr(failure, "code", failure): # Not so SystemExit(0).
            print(f"--- log of Swift\n{self._log()}---", flush=True)
        self.stack.close()

    def _log(self):
        return "".join(path.read_text(errors="replace")[-5000:] for path in sorted(self.directory.glob("log/*.out")))

    def _end(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def _python(self, text, *arguments):
        return [PYTHON, "-I", "-c", text, str(self.directory / "etc"), *map(str, arguments)]

    def _begin(self, port, ports):
        for name in ("etc", "log", "devices/d1"):
            (self.directory / name).mkdir(parents=True)
        etc = self.directory / "etc"
        names = {"directory": self.directory, "user": getpass.getuser()}
        (etc / "swift.conf").write_text(CLUSTER)
        for part, part_port in zip(PARTS, ports):
            (etc / f"{part}-server.conf").write_text(STORAGE.format(part=part, port=part_port, **names))
        (etc / "proxy-server.conf").write_text(PROXY.format(
            port=port, account=ACCOUNT, account_user=USER, secret=SECRET, region=REGION, **names))
        done = subprocess.run(self._python(RINGS, *ports), capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"no rings\n{done.stderr}")
        for part in PARTS:
            self._serve(part)
        # A proxy that finds one of them not there answers 503 for it, and does not ask it for a while.
        wait_for("Swift's parts listen", lambda: self._run() and all(map(listens, ports)), 90)
        self._serve("proxy")
        wait_for("Swift answers", self._answers, 90)

    def _serve(self, part):
        with open(self.directory / "log" / f"{part}.out", "ab") as log:
            self.processes.append(subprocess.Popen(self._python(SERVE, part), stdin=subprocess.DEVNULL,
                                                   stdout=log, stderr=log))

    def _run(self):
        for process in self.processes:
            check(process.poll() is None, f"a server ended\n{self._log()}")
        return True

    def _answers(self):
        self._run()
        try:
            return self.ask("GET", "/")[0] == 200
        except OSError:
            return False
