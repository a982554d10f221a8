"""What is installed is enough: the example builds against belay.pc, shared and static, and serves."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cases import run_cases
from daemon import BUILD, SLOWNESS, Daemon, check

TREE = Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          timeout=120 * SLOWNESS, **options)
    check(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def installed(root):
    """Install under `root`. Returns the environment in which pkg-config finds it there."""
    run("meson", "install", "-C", BUILD, "--no-rebuild", env={**os.environ, "DESTDIR": str(root)})
    found = list(root.rglob("belay.pc"))
    check(len(found) == 1, f"belay.pc: {found}")
    return {**os.environ, "PKG_CONFIG_PATH": str(found[0].parent),
            "PKG_CONFIG_SYSROOT_DIR": str(root)}


def exported(library, *flags):
    """Names of the functions that others see."""
    printed = run("nm", *flags, "--defined-only", library)
    return {line.split()[2] for line in printed.splitlines() if len(line.split()) == 3}


def test_the_example_builds_outside():
    root = Path(tempfile.mkdtemp(prefix="belay-install-"))
    try:
        environment = installed(root)
        library = next(root.rglob("libbelay.so.0"))
        shutil.copy(TREE / "client/examples/session.c", root / "session.c")
        flags = run("pkg-config", "--cflags", "--libs", "belay", env=environment).split()
        run("cc", "-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic", root / "session.c", *flags,
            "-o", root / "shared")
        static = run("pkg-config", "--static", "--cflags", "--libs", "belay", env=environment)
        flags = ["-l:libbelay.a" if flag == "-lbelay" else flag for flag in static.split()]
        run("cc", root / "session.c", *flags, "-o", root / "static")
        with Daemon() as daemon:
            daemon.start()
            said = run(root / "shared", daemon.native,
                       env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)})
            check("deleted: yes" in said, said)
            check(run(root / "static", daemon.native) == said, "the static one says the same")
    finally:
        shutil.rmtree(root)


def test_the_example_builds_uninstalled():
    """Against the build directory, which has a belay.pc of its own."""
    environment = {**os.environ, "PKG_CONFIG_PATH": str(BUILD / "meson-uninstalled")}
    flags = run("pkg-config", "--cflags", "--libs", "belay", env=environment).split()
    with tempfile.TemporaryDirectory(prefix="belay-uninstalled-") as made, Daemon() as daemon:
        run("cc", "-Wall", "-Wextra", "-Werror", TREE / "client/examples/session.c", *flags, "-o", f"{made}/session")
        daemon.start()
        said = run(f"{made}/session", daemon.native, env={**os.environ, "LD_LIBRARY_PATH": str(BUILD / "client")})
        check("deleted: yes" in said, said)


def test_only_belay_names_are_seen():
    for library, flags in [("libbelay.so", ["-D"]), ("libbelay.a", ["-g"])]:
        names = exported(BUILD / "client" / library, *flags)
        check("belay_get" in names, f"{library}: {names}")
        others = {name for name in names if not name.startswith("belay_")}
        check(not others, f"{library} shows {others}")


if __name__ == "__main__":
    run_cases(__name__)
