"""Runs the test cases of one file: every function whose name begins with `test_`, in order."""

import sys
import traceback


def run_cases(module_name):
    module = sys.modules[module_name]
    wanted = sys.argv[1:]
    failed = 0
    for name, case in list(vars(module).items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        print(f"--- {name}", flush=True)
        try:
            case()
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
            failed += 1
    print(f"{failed} failed" if failed else "all passed")
    sys.exit(1 if failed else 0)
