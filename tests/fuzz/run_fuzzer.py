"""Fuzz one target for a while, from the kept corpus: run_fuzzer.py PROGRAM CORPUS.

BELAY_FUZZ_SECONDS says how long (5). New inputs go to BELAY_FUZZ_KEEP/NAME if that is set, else they are
dropped. An input that fails is printed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    program, corpus = Path(sys.argv[1]), Path(sys.argv[2])
    seconds = os.environ.get("BELAY_FUZZ_SECONDS", "5")
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch) / "found"
        found.mkdir()
        words = corpus.parent.parent / f"{corpus.name}.dict"
        failed = subprocess.run(
            [program, f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024",
             "-max_len=8192", "-print_final_stats=1", f"-artifact_prefix={scratch}/",
             *([f"-dict={words}"] if words.exists() else []), found, corpus],
            stdin=subprocess.DEVNULL, check=False).returncode
        for path in Path(scratch).iterdir():
            if path.is_file():
                print(f"{path.name}: {path.read_bytes().hex()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
