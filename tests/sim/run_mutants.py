"""Break the code on purpose, and see that the simulator finds it: run_mutants.py [--note] [NAME]...

Each mutants/NAME.patch has lines before its diff: what it breaks, `Scenario: NAME`, and `Checker: NAME[ NAME]...`, the
checkers that may find it; and where those of its scenario do not find it soon, `Seeds: A..B`. `Found: N...` are seeds that
found it the last time, which are tried first, as that is quick: some, as a change of the code gives many seeds another history.
--note writes them down anew, where the first of them no longer finds it or where there are few. The patch is applied to copies
of the sources, which are compiled as the build in BELAY_BUILD compiles them, and linked in the place of its own. A mutant that
lives, that another checker finds, whose patch no longer applies, or that does not build is a failure.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BELAY_BUILD", TOP / "build"))
MUTANTS = Path(__file__).resolve().parent / "mutants"
NOTED_MAX = 3
LATER_SEEDS = 100  # Among so many after the first one others are looked for to be noted.
SEEDS = {"shard": "1..400", "raft": "1..4000", "copies": "1..400", "cluster": "1..60", "archive": "1..400"}


class Failed(Exception):
    pass


def run(command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


def must(what, command, cwd):
    code, output = run(command, cwd)
    if code != 0:
        raise Failed(f"{what}:\n{output}")
    return output


def build_commands():
    """What the build does for the program: source (relative to TOP) to command, and the linking one."""
    lines = must("ninja", ["ninja", "-t", "commands", "sim"], BUILD).splitlines()
    compiles = {}
    for line in lines:
        words = shlex.split(line)
        if "-c" in words:
            source = (BUILD / words[words.index("-c") + 1]).resolve()
            if source.is_relative_to(TOP):
                compiles[str(source.relative_to(TOP))] = words
    return compiles, shlex.split(lines[-1])


def heading(text, name, otherwise=None):
    found = re.search(rf"^{name}: (.+)$", text, re.MULTILINE)
    if found is None and otherwise is None:
        raise Failed(f"the patch has no line {name}:")
    return found[1].split() if found else otherwise


def build_mutant(patch, text, compiles, link, scratch):
    sources = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)
    for source in sources:
        if source not in compiles:
            raise Failed(f"{source} is no source of the simulator")
        copy = scratch / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((TOP / source).read_bytes())
    must("the patch does not apply", ["git", "apply", "-p1", patch], scratch)
    link = list(link)
    link[link.index("-o") + 1] = str(scratch / "sim")
    for source in sources:
        words = list(compiles[source])
        before = words[words.index("-o") + 1]
        made = str(scratch / Path(before).name)
        words[words.index("-o") + 1] = made
        words[words.index("-c") + 1] = str(scratch / source)
        first = next(index for index, word in enumerate(words) if word.startswith("-"))
        words.insert(first, f"-I{(TOP / source).parent}") # Behind the compiler, and what caches for it.
        # Dependencies of the real object are none of our business.
        for option in ("-MF", "-MQ"):
            words[words.index(option) + 1] = f"{made}.d"
        must("it does not compile", words + ["-Wno-error", "-O1"], BUILD)  # As quick as can be.
        if before in link:
            link[link.index(before)] = made
        else:
            link.insert(link.index("-o") + 2, made)  # Before the library that has the real one.
    must("it does not link", link, BUILD)


def search(scratch, scenario, seeds):
    """The line of the first seed that fails, matched, and all that was said."""
    code, output = run([scratch / "sim", "--seeds", seeds, "--scenario", scenario], scratch)
    found = re.search(r"^FAIL .*?seed=(\d+) .*?checker=(\w+): (.*)$", output, re.MULTILINE)
    return found if code != 0 else None, f"{seeds} found nothing ({code})\n{output[-2000:]}"


def find(scratch, scenario, seeds, known, checkers):
    """What finds it: of the seeds that are known to, else of all."""
    for seed in known:
        found, output = search(scratch, scenario, f"{seed}..{seed}")
        if found is not None and found[2] in checkers:
            return found
    found, output = search(scratch, scenario, seeds)
    if found is None:
        raise Failed(f"it lives: {output}")
    if found[2] not in checkers:
        raise Failed(f"checker {found[2]} found it, not {' or '.join(checkers)}: {found[0]}")
    return found


def find_to_note(scratch, scenario, last, first, checkers):
    """Seeds to note: one that finds it, and some after it that do so too."""
    noted, end = [first], min(last, first + LATER_SEEDS)
    while noted[-1] < end and len(noted) < NOTED_MAX:
        found, _ = search(scratch, scenario, f"{noted[-1] + 1}..{end}")
        if found is None or found[2] not in checkers:
            break
        noted.append(int(found[1]))
    return noted


def judge(patch, compiles, link, notes):
    """What found the mutant: seed, checker, text."""
    text = patch.read_text(encoding="utf-8")
    checkers = heading(text, "Checker")
    scenario = heading(text, "Scenario")[0]
    seeds = heading(text, "Seeds", [SEEDS.get(scenario, "none")])[0]
    known = heading(text, "Found", [])
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        build_mutant(patch, text, compiles, link, scratch)
        found = find(scratch, scenario, seeds, known, checkers)
        if notes and (len(known) < NOTED_MAX or found[1] != known[0]):
            note(patch, find_to_note(scratch, scenario, int(seeds.split("..")[1]), int(found[1]), checkers))
    return found[1], found[2], found[3]


def note(patch, seeds):
    """Write down in the patch which seeds find it."""
    text = patch.read_text(encoding="utf-8")
    line = f"Found: {' '.join(map(str, seeds))}\n"
    if re.search(r"^Found: .*\n", text, re.MULTILINE):
        text = re.sub(r"^Found: .*\n", line, text, count=1, flags=re.MULTILINE)
    else:
        text = re.sub(r"^Checker: .*\n", lambda row: row[0] + line, text, count=1, flags=re.MULTILINE)
    patch.write_text(text, encoding="utf-8")


def main():
    names = [word for word in sys.argv[1:] if word != "--note"]
    notes = "--note" in sys.argv[1:]
    patches = [MUTANTS / f"{name}.patch" for name in names] or sorted(MUTANTS.glob("*.patch"))
    compiles, link = build_commands()
    failed = 0

    def one(patch):
        began = time.monotonic()
        try:
            return judge(patch, compiles, link, notes), f"{time.monotonic() - began:.1f} s"
        except Failed as error:
            return None, str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for patch, (found, text) in zip(patches, pool.map(one, patches)):
            failed += found is None
            if found is None:
                print(f"FAIL   {patch.stem}: {text}", flush=True)
                continue
            print(f"found  {patch.stem}: seed {found[0]}, {found[1]}: {found[2]} ({text})", flush=True)
    print(f"{len(patches) - failed} of {len(patches)} mutants found")
    return 1 if failed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
