"""The source tree as the checks see it."""

import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def files(*suffixes):
    """Every file that belongs to the project (new ones included, ignored ones not), as relative paths;
    only those with one of `suffixes`, if any are given."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=TOP,
        capture_output=True, text=True, check=True).stdout.split("\0")
    paths = sorted({Path(name) for name in listed if name})
    return [path for path in paths
            if (TOP / path).is_file() and (not suffixes or path.suffix in suffixes)]
