"""A network of its own for some nodes: a bridge, a namespace for each node, and a table of who does not hear whom.

A script that wants it is started anew by enter() in fresh network, process and mount namespaces. There it is process
1: when it ends, however it ends, the kernel ends all that it started and takes the network away; a helper outside
removes the directory of temporary files once the script's parent is gone, even where that was killed.

    10.77.0.254  the script, on the bridge: it always reaches every node, as a client does
    10.77.0.N    node N, on a veth pair whose other end is in the bridge

Cuts are made in the bridge (nftables), for packets from one node to another. They are dropped, nobody is told, as
when a switch fails. A cut may be for one direction.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

from daemon import check

NETWORK = "10.77.0"
MARK = "BELAY_IN_NAMESPACES"
PROGRAMS = ("ip", "nft", "unshare", "setpriv", "mount", "chroot")
RULES = """
table bridge belay {
    set cut { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @cut counter drop
    }
}
"""


def run(*words, given=None):
    done = subprocess.run(words, input=given, stdin=subprocess.DEVNULL if given is None else None,
                          capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def is_inside():
    return MARK in os.environ


def missing():
    """Why this machine cannot do it; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)}: not installed (tools/setup --tests)"
    return None


def root_is_mounted():
    """Is the root a mount of its own? In a chroot it may be a directory like any other."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == "/" for line in mounts)


# Mounts of a namespace can be made its own only from a root that is mounted: so it is, at $1, and becomes the root.
IN_A_MOUNTED_ROOT = """
mount --rbind / "$1" && mount --make-rprivate "$1" && root=$1 && shift &&
exec chroot "$root" sh -c 'mount -t proc proc /proc && cd "$0" && exec "$@"' "$PWD" "$@"
"""


def enter():
    """Start the script that runs anew inside. Returns its exit code. SIGTERM and SIGINT end it."""
    why = missing()
    if why is not None:
        print(f"{sys.argv[0]}: {why}", file=sys.stderr)
        return 2
    directory = tempfile.mkdtemp(prefix="belay-net-")
    root = "" if root_is_mounted() else tempfile.mkdtemp(prefix="belay-root-")
    janitor = subprocess.Popen(  # pylint: disable=consider-using-with
        ["sh", "-c", 'cat; rmdir "$2" 2>/dev/null; for i in 1 2 3 4 5; do rm -rf "$1" 2>/dev/null && exit; sleep 1; done',
         "janitor", directory, root], stdin=subprocess.PIPE, start_new_session=True)
    entry = ["--propagation", "unchanged", "sh", "-c", IN_A_MOUNTED_ROOT, "sh", root] if root else ["--mount-proc"]
    inner = subprocess.Popen(  # pylint: disable=consider-using-with
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", *entry,
         sys.executable, *sys.argv], env={**os.environ, MARK: directory, "TMPDIR": directory})

    def end(_number, _frame):
        inner.kill()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    code = inner.wait()
    janitor.stdin.close()
    janitor.wait()
    return code if code >= 0 else 128 - code


class Network:
    """The bridge and who is on it. One per process, inside."""

    def __init__(self):
        check(is_inside(), "not in namespaces of its own: net.enter()")
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{NETWORK}.254/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        run("nft", "-f", "-", given=RULES)
        self.addresses = {}
        self.pairs = set()

    def add(self, name):
        """A namespace with an address. Returns the address."""
        address = f"{NETWORK}.{len(self.addresses) + 1}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", "bridge", "up")
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{address}/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"]):
            run("ip", "-n", name, *words)
        self.addresses[name] = address
        return address

    def forget(self):
        """Everybody's place, once nothing runs there; cuts too."""
        self.heal()
        for name in self.addresses:
            run("ip", "netns", "delete", name)
            # It goes with its other end, perhaps before this.
            subprocess.run(["ip", "link", "delete", f"to-{name}"], capture_output=True, check=False)
        self.addresses = {}

    def wrapper(self, name):
        """What runs a command there, with processes and mounts of its own. The command is the one child of it."""
        return ["ip", "netns", "exec", name, "unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]

    def cut(self, pairs):
        """From now on the first of each pair is not heard by the second; all others hear each other."""
        self.pairs = set(pairs)
        lines = ["flush set bridge belay cut"]
        if self.pairs:
            elements = ", ".join(f"{self.addresses[one]} . {self.addresses[other]}"
                                 for one, other in sorted(self.pairs))
            lines.append(f"add element bridge belay cut {{ {elements} }}")
        run("nft", "-f", "-", given="\n".join(lines) + "\n")

    def heal(self):
        self.cut(())

    def dropped(self):
        """How many packets cuts have taken so far."""
        words = run("nft", "list", "chain", "bridge", "belay", "forward").split()
        return int(words[words.index("packets") + 1])


def both_ways(one, other):
    """The pairs that part two groups."""
    return {pair for a in one for b in other for pair in ((a, b), (b, a))}
