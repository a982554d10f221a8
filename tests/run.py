"""Build Belay and run its test suites: what tools/test calls.

A suite is one build of the tree and some of meson's suites in it. Each meson test counts as one, and so does a build that
fails. Tests wait much of their time: one more than there are cores run at a time, and while those of the first build run
the other builds are made with what they leave of the cores. Beside the tests it is checked that they leave nothing
behind: no process, no temporary file, nothing new in `git status`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


# What of a test's output says why it failed: of a file of cases in Python (cases.py), cmocka, sanitizers, compilers, clang-tidy.
REASON = re.compile(r"FAILED |\[  (ERROR|FAILED) |\[   LINE |.*(ERROR|WARNING|SUMMARY): \w+Sanitizer|.*\b(error|ERROR): ")
REASONS_MAX, REASON_COLUMNS = 8, 1000


LINES = "-Dc_args=-g1"  # What a report of a sanitizer names, and no more: it is written much faster.


class Build:
    """A build directory, its meson options, what to build in it, and the build whose belay-bench makes the load of those of
    its tests that are not about that."""

    def __init__(self, directory, options, targets=(), environment=None, load=None):
        self.directory = directory
        self.options = options
        self.targets = list(targets)
        self.environment = environment or {}
        self.load = load


BUILDS = {
    "release": Build("build", ["-Dbuildtype=release", "-Dwerror=false"]),
    "asan": Build("build-asan", ["-Dbuildtype=debugoptimized", LINES, "-Db_sanitize=address,undefined"],
                  ["sanitized-targets"], load="release"),
    "tsan": Build("build-tsan", ["-Dbuildtype=debugoptimized", LINES, "-Db_sanitize=thread"],
                  ["threads-targets"], load="release"),
    "fuzz": Build("build-fuzz", ["-Dbuildtype=debugoptimized", LINES, "-Dfuzz=true", "-Dwerror=false"],
                  ["fuzz-targets"], {"CC": "clang-14"}),
}

# Name: build, meson's suites, by how much to multiply time limits, what it is.
SUITES = {
    "tidy": ("release", ["tidy"], 1, "layout, include directions, headers, clang-tidy, documents"),
    "unit": ("release", ["unit"], 1, "unit and property tests"),
    "sim": ("release", ["sim"], 1, "the simulator: many seeds, and breakages that it has to find"),
    "integration": ("release", ["integration", "long", "packaging"], 1, "the real programs on loopback"),
    "jepsen": ("release", ["jepsen"], 1, "faults on a real cluster in network namespaces: short rounds, and the checkers"),
    "clients": ("release", ["clients"], 1, "Redis clients and session frameworks as their users run them"),
    "asan": ("asan", ["unit", "integration"], 4, "unit and integration under ASan and UBSan"),
    "asan-long": ("asan", ["long"], 4, "what takes long under them: only where it is named"),
    "tsan": ("tsan", ["threads"], 8, "what has threads, under TSan"),
    "fuzz": ("fuzz", ["fuzz"], 1, "every decoder of outside bytes, some seconds each"),
}
BY_NAME = {"asan-long"}


def reasons_of(log):
    """The lines that say why it failed; the last ones, where none is known to."""
    rows = [row for row in log.splitlines() if row.strip()]
    return [row[:REASON_COLUMNS] for row in [row for row in rows if REASON.match(row)][:REASONS_MAX] or rows[-REASONS_MAX:]]


class Report:
    def __init__(self):
        self.passed = 0
        self.failures = []  # Name and reasons, which the end of the output says once more: its middle may get lost.
        self.skipped = 0

    def line(self, verdict, name, seconds=None):
        duration = "" if seconds is None else f"  {seconds:.1f}s"
        print(f"{verdict:<5} {name}{duration}", flush=True)

    def fail(self, name, log="", seconds=None):
        self.failures.append((name, reasons_of(log)))
        self.line("FAIL", name, seconds)
        for row in [*reasons_of(log), "---", *log.rstrip().splitlines()]:
            print(f"      | {row}")

    def end(self, seconds):
        for name, reasons in self.failures:
            self.line("FAIL", name)
            for row in reasons:
                print(f"      | {row}")
        print(f"in {seconds:.0f} s")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {len(self.failures)} failed{skipped}")
        return 1 if self.failures else 0

    def ok(self, name, seconds=None):
        self.passed += 1
        self.line("ok", name, seconds)

    def skip(self, name, log, seconds=None):
        if IN_CI:
            self.fail(f"{name} (skipped, which is a failure in CI)", log, seconds)
        else:
            self.skipped += 1
            self.line("skip", name, seconds)


def run_quietly(command, environment):
    done = subprocess.run(command, cwd=TOP, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    return done.returncode, done.stdout


class Builder:
    """Makes builds one after the other on a thread of its own, all but the first with what tests leave of the cores."""

    def __init__(self, names, environment):
        self.environment = environment
        self.made = {name: threading.Event() for name in names}
        self.results = {}  # Name: exit code, what was said, seconds.
        self.told = {}
        self.process = None
        self.over = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.make_all, daemon=True)
        self.thread.start()

    def make_all(self):
        for index, name in enumerate(self.made):
            start = time.monotonic()
            code, log = self.make(BUILDS[name], [] if index == 0 else ["nice", "-n", "19"])
            self.results[name] = code, log, time.monotonic() - start
            self.made[name].set()

    def make(self, plan, wrapper):
        """Configure where needed, and build."""
        directory = TOP / plan.directory
        configured = (directory / "meson-private" / "coredata.dat").exists()
        code, log = 0, ""
        for command in (["meson", "configure" if configured else "setup", str(directory), *plan.options],
                        ["ninja", "-C", str(directory), *plan.targets]):
            if code == 0:
                code, log = self.run([*wrapper, *command], {**self.environment, **plan.environment})
        return code, log

    def run(self, command, environment):
        with self.lock:
            if self.over:
                return 1, "ended"
            self.process = subprocess.Popen(command, cwd=TOP, env=environment, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                            errors="replace")
        log = self.process.communicate()[0]
        return self.process.returncode, log

    def is_good(self, name, report):
        """Wait for a build, tell of it once, and return whether it worked."""
        self.made[name].wait()
        code, log, seconds = self.results[name]
        if name not in self.told:
            self.told[name] = code == 0
            if code == 0:
                report.line("built", BUILDS[name].directory, seconds)
            else:
                report.fail(f"build {BUILDS[name].directory}", log, seconds)
        return self.told[name]

    def end(self):
        """Nothing more is built, and what is under way ends."""
        with self.lock:
            self.over = True
            if self.process is not None:
                self.process.terminate()
        self.thread.join()


def builds_of(name):
    """Those that a suite needs, its own at last."""
    own = SUITES[name][0]
    return [own] if BUILDS[own].load is None else [BUILDS[own].load, own]


def run_meson(name, only, environment, report):
    """Run one of SUITES, or the tests named by `only` in it, in its build."""
    build_name, meson_suites, multiplier, _ = SUITES[name]
    directory = TOP / BUILDS[build_name].directory
    if BUILDS[build_name].load is not None:
        environment = {**environment, "BELAY_LOAD_BUILD": str(TOP / BUILDS[BUILDS[build_name].load].directory)}
    log_file = directory / "meson-logs" / f"{name}.json"
    command = ["meson", "test", "-C", str(directory), "--no-rebuild", "--no-stdsplit",
               "-t", str(multiplier), "--logbase", name, "--num-processes", str((os.cpu_count() or 1) + 1)]
    for suite in meson_suites:
        command += ["--suite", suite]
    log_file.unlink(missing_ok=True)
    process = subprocess.Popen(command + only, cwd=TOP, env=environment, text=True,
                               errors="replace", stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = follow(process, name)
    rows = []
    if log_file.exists():
        rows = [json.loads(row) for row in log_file.read_text(errors="replace").splitlines() if row]
    if not rows and "No suitable tests defined" not in output and "No tests defined" not in output:
        report.fail(f"{name}: meson test", output)
    for row in rows:
        judge(name, row, report)


def follow(process, name):
    """Show meson's progress while the tests run: a dot for each test that ended, where it is a person
    who waits. Returns everything that meson said."""
    output = []
    for row in process.stdout:
        output.append(row)
        ended = re.match(r"\s*(\d+)/(\d+) ", row)
        if ended and sys.stdout.isatty():
            print(f"\r{name} {ended[1]}/{ended[2]}", end="\r", flush=True)
    process.wait()
    return "".join(output)


def judge(suite, row, report):
    short = row["name"].split(" / ")[-1]
    name = f"{suite} {short}"
    log = (row.get("stdout") or "") + (row.get("stderr") or "")
    result = row["result"]
    seconds = row.get("duration")
    if result in ("OK", "EXPECTEDFAIL"):
        report.ok(name, seconds)
    elif result == "SKIP":
        report.skip(name, log, seconds)
    else:
        report.fail(f"{name} ({result})", log, seconds)


def programs_running():
    """Processes whose program lies in one of the build directories."""
    builds = tuple(str(TOP / plan.directory) + "/" for plan in BUILDS.values())
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                program = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            if program.startswith(builds):
                found[int(entry)] = program
    return found


def git_status():
    if not (TOP / ".git").exists():
        return ""
    return run_quietly(["git", "status", "--porcelain"], os.environ)[1]


def check_leftovers(running_before, status_before, temporary, report):
    left = []
    for pid, program in programs_running().items():
        if pid not in running_before:
            left.append(f"process {pid}: {program}")
            os.kill(pid, signal.SIGKILL)
    left += [f"file: {path}" for path in sorted(Path(temporary).iterdir())]
    status = git_status()
    if status != status_before:
        left.append(f"git status is now:\n{status}")
    if left:
        report.fail("nothing is left behind", "\n".join(left))
    else:
        report.ok("nothing is left behind")


def parse_arguments():
    names = "\n".join(f"  {name:<12} {suite[3]}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="tools/test", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Build Belay and run its tests.",
        epilog=f"suites (default: all but asan-long):\n{names}\n\n"
               "SUITE:TEST runs one test of a suite, for example unit:proto.")
    parser.add_argument("suites", metavar="SUITE", nargs="*")
    wanted = {}
    for word in parser.parse_args().suites:
        suite, _, test = word.partition(":")
        if suite not in SUITES:
            parser.error(f"no suite {suite!r}; there are: {', '.join(SUITES)}")
        wanted.setdefault(suite, [])
        if test:
            wanted[suite].append(test)
    return wanted or {name: [] for name in SUITES if name not in BY_NAME}


def main():
    wanted = parse_arguments()
    report = Report()
    start = time.monotonic()
    running_before = programs_running()
    status_before = git_status()
    temporary = tempfile.mkdtemp(prefix="belay-tests.")
    environment = {**os.environ, **SANITIZER_ENVIRONMENT, "TMPDIR": temporary,
                   "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    builder = Builder(dict.fromkeys(build for name in wanted for build in builds_of(name)), environment)
    try:
        for name, only in wanted.items():
            if all([builder.is_good(build, report) for build in builds_of(name)]):
                began = time.monotonic()
                run_meson(name, only, environment, report)
                report.line("ran", name, time.monotonic() - began)
        check_leftovers(running_before, status_before, temporary, report)
    finally:
        builder.end()
        shutil.rmtree(temporary, ignore_errors=True)
    return report.end(time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main())
