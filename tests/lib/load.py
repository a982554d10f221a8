"""belay-bench run --record in the background of a test, and the audit of what was acknowledged to it."""

import json
import signal
import subprocess
from pathlib import Path

from daemon import SLOWNESS, check, program


class Load:
    """In the background, with a record of what was acknowledged."""

    def __init__(self, daemon, record, *arguments):
        self.process = subprocess.Popen(
            [program("belay-bench"), "run", "--server", daemon.native, "--record", record,
             "--seconds", "600", "--timeout-ms", "1000", "--json", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self):
        """End it in order. Returns what it found, and what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        printed, said = self.process.communicate(timeout=60 * SLOWNESS)
        return json.loads(printed), said.decode()

    def kill(self):
        """End it as well. Returns what it said on stderr; the second time nothing."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr.closed:
            return ""
        self.process.stdout.close()
        with self.process.stderr:
            return self.process.stderr.read().decode()


def written(record):
    """Does the record hold a hundred entries yet?"""
    path = Path(record)
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(256 + 32 * 100)
        return any(file.read(32))


def audit(daemon, record, *arguments):
    """Returns how many acknowledged writes were held against what is there."""
    printed = daemon.run("belay-bench", "audit", record, "--json", *arguments, expect=None)
    audited = json.loads(printed)
    for level, row in {**audited["levels"], "all": audited["all"]}.items():
        faults = {name: count for name, count in row.items() if name != "acked" and count}
        check(not faults, f"audit at {level}: {faults}\n{printed}")
    check(not audited["errors"], printed)
    return audited["all"]["acked"]
