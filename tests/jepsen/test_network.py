"""The network of jepsen/: cuts are what they say, and nothing of it is left, however its script ended."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import run_cases
from daemon import check, wait_for
from rig import net

# What runs inside: servers in three namespaces, and who reaches whom.
LISTEN = "import socket; s = socket.create_server(('', 7)); print('up', flush=True); [s.accept() for _ in iter(int, 1)]"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 7), 0.5)"


def reached(network, one, other):
    """Does a connection come about? That takes packets in both directions."""
    done = subprocess.run(["ip", "netns", "exec", one, sys.executable, "-c", CONNECT, network.addresses[other]],
                          capture_output=True, check=False)
    return done.returncode == 0


def all_reached(network):
    names = list(network.addresses)
    return {f"{one}{other}" for one in names for other in names if one != other and reached(network, one, other)}


def show_cuts():
    network = net.Network()
    for name in "abc":
        network.add(name)
        server = subprocess.Popen([*network.wrapper(name), sys.executable, "-c", LISTEN], stdout=subprocess.PIPE)
        server.stdout.readline()
    everything = {"ab", "ac", "ba", "bc", "ca", "cb"}
    check(all_reached(network) == everything and network.dropped() == 0, "whole")
    network.cut(net.both_ways("a", "bc"))
    check(all_reached(network) == {"bc", "cb"} and network.dropped() > 0, "a is alone")
    network.cut({("a", "b")})
    check(all_reached(network) == everything - {"ab", "ba"}, "b does not hear a")
    for name, address in network.addresses.items():
        done = subprocess.run([sys.executable, "-c", CONNECT, address], check=False)
        check(done.returncode == 0, f"the script reaches {name} whatever is cut")
    network.heal()
    check(all_reached(network) == everything, "healed")


def hang():
    network = net.Network()
    network.add("a")
    subprocess.Popen([*network.wrapper("a"), "sleep", "1000"])
    with tempfile.NamedTemporaryFile(delete=False) as file:
        print(file.name, flush=True)
    signal.pause()


def start(what):
    return subprocess.Popen([sys.executable, __file__, what], stdout=subprocess.PIPE, text=True)


def test_cuts():
    shown = start("show_cuts")
    printed = shown.communicate()[0]
    check(shown.returncode == 0, printed)


def test_nothing_is_left():
    """After SIGTERM as after SIGKILL of what was started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        hanging = start("hang")
        try:
            file = Path(hanging.stdout.readline().strip())
            namespaces = wait_for("three namespaces", lambda: namespaces_of(hanging.pid, 3))
            check(file.exists(), f"{file} is there while it runs")
        finally:
            hanging.send_signal(number)
            hanging.wait()
            hanging.stdout.close()
        wait_for("the directory is gone", lambda: not file.parent.exists())
        wait_for("nothing is left in its namespaces", lambda: not in_use(namespaces))


def namespaces_of(pid, count):
    """The network namespaces of a process and all below it, where there are so many."""
    found = {os.readlink(f"/proc/{each}/ns/net") for each in descendants(pid) if os.path.exists(f"/proc/{each}/ns/net")}
    return found if len(found) == count else None


def descendants(pid):
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass # It ended just now.
    return found


def in_use(namespaces):
    own = os.readlink("/proc/self/ns/net")
    used = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                used.add(os.readlink(entry / "ns/net"))
            except OSError:
                pass # It ended just now.
    return (namespaces - {own}) & used


if __name__ == "__main__":
    if sys.argv[1:] in (["show_cuts"], ["hang"]):
        if not net.is_inside():
            sys.exit(net.enter())
        globals()[sys.argv[1]]()
        sys.exit(0)
    if net.missing() is not None:
        print(net.missing())
        sys.exit(77) # Skipped, which CI does not take.
    run_cases(__name__)
