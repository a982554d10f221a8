"""Runs the test cases of one file: every function whose name begins with `test_`, in order. Says how long each took, and
how much of that was work of this process and of those that it waited for. The last lines name the cases that failed, and why
(tests/run.py shows these first)."""

import os
import sys
import time
import traceback

SANITIZED = os.environ.get("BELAY_SLOWNESS", "1") != "1"
REASON_CHARACTERS = 800
THREADS = os.environ.get("BELAY_THREADS", "") not in ("", "0")  # The build is one with TSan.
ALL = os.environ.get("BELAY_LONG", "") not in ("", "0")


def long(case):
    """Decorates a case of much time whose code others run as well: in a build with a sanitizer it is left out (and said to be), unless
    BELAY_LONG=1 or its name asks for it; the release build runs it. What is left out: loads, kills and moves that another
    case has in a smaller form, bounds of memory and of time, which are not looked at there, and comparisons of documents."""
    case.is_long = True
    return case


def long_but_for_threads(case):
    """As long(), but with TSan it runs: what it has beyond other cases is that threads meet, which is not what ASan looks at."""
    case.is_long = not THREADS
    return case


def reason_of(failure):
    """In one line: of a long one the beginning and the end."""
    said = " ".join(f"{type(failure).__name__}: {failure}".split())
    return said if len(said) <= REASON_CHARACTERS else f"{said[:REASON_CHARACTERS // 2]} ... {said[-REASON_CHARACTERS // 2:]}"


def cpu_seconds():
    return sum(os.times()[:4])


def run_cases(module_name):
    module = sys.modules[module_name]
    wanted = sys.argv[1:]
    failed = []
    for name, case in list(vars(module).items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        if SANITIZED and not (ALL or wanted) and getattr(case, "is_long", False):
            print(f"--- {name}: only with BELAY_LONG=1")
            continue
        print(f"--- {name}", flush=True)
        began, cpu_began = time.monotonic(), cpu_seconds()
        try:
            case()
        except Exception as failure:  # pylint: disable=broad-except
            traceback.print_exc()
            failed.append(f"FAILED {name}: {reason_of(failure)}")
        print(f"    {time.monotonic() - began:.1f} s, {cpu_seconds() - cpu_began:.1f} s of CPU", flush=True)
    print("\n".join([*failed, f"{len(failed)} failed"] if failed else ["all passed"]))
    sys.exit(1 if failed else 0)
