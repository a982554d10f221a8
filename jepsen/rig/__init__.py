"""Faults on a real cluster in network namespaces: what jepsen/run and the figures of tools/bench/cluster share."""

import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
os.environ.setdefault("BELAY_BUILD", str(TOP / "build"))
sys.path.insert(0, str(TOP / "tests/lib"))
