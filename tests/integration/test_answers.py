"""The answers to Redis clients are those of Redis, but for the documented differences: resp/commands.txt line by line."""

import re
import subprocess
from pathlib import Path

from cases import run_cases
from daemon import BUILD, Daemon, check
from redis_kit import Client, Redis, port_of

COMMANDS = Path(__file__).parent / "resp" / "commands.txt"
SECONDS_APART = 20  # Between the two servers being asked for what is left of a deadline.

# Commands that redis-cli cannot be made to send like others, and which test compares their answers.
ELSEWHERE = {
    "monitor": "test_monitor.py",
    "punsubscribe": "test_pubsub.py",
    "quit": "test_resp.py",
    "unsubscribe": "test_pubsub.py",
}


class Line:
    """A line of commands.txt, or a transaction, where nothing may come between."""

    def __init__(self, lines):
        first = re.fullmatch(r"(?:\[(\w+)\] )?([~?]?)(.*)", lines[0])
        self.row, self.kind = first[1], first[2]
        self.text = "\n".join([first[3], *lines[1:]])

    def is_same(self, theirs, ours):
        if self.kind == "~":
            return without_order(theirs) == without_order(ours)
        if self.kind == "?":
            return kind_of(theirs) == kind_of(ours)
        return theirs == ours or ("TTL" in self.text or "EXPIRETIME" in self.text) and is_near(theirs, ours)


def without_order(answer):
    return sorted(re.sub(r"^(\s*\d+[)#~] )+", "", line) for line in answer.splitlines())


def kind_of(answer):
    """Its first line without what it says."""
    return re.sub(r"\d+", "0", re.sub(r'"(\\.|[^"\\])*"', '""', answer).split("\n")[0])


def is_near(theirs, ours):
    """The same but for the time between them, in seconds or milliseconds."""
    number = re.compile(r"(?<=\(integer\) )\d+")
    return number.sub("", theirs) == number.sub("", ours) and all(
        abs(int(a) - int(b)) <= SECONDS_APART * (1 if int(a) < 10_000 or 10**9 < int(a) < 10**11 else 1000)
        for a, b in zip(number.findall(theirs), number.findall(ours)))


def read_lines():
    found, is_open = [], False
    for line in COMMANDS.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if is_open:
            found[-1].append(line)
        else:
            found.append([line])
        is_open = (is_open or line.split()[-1] == "MULTI") and line not in ("EXEC", "DISCARD")
    return [Line(lines) for lines in found]


def rows():
    """Of server/resp/differences.h: name, commands, and the test that shows it, or none."""
    out = subprocess.run([BUILD / "tests" / "tidy" / "differences", "--rows"], stdout=subprocess.PIPE, text=True, check=True)
    return {name: (commands.split(), shown) for name, commands, shown in
            (line.split("\t") for line in out.stdout.splitlines())}


def cli(port, protocol, lines):
    """The answers to some lines, by redis-cli, which tells types apart."""
    script = "".join(f"{line.text}\nECHO --answered--\n" for line in lines)
    out = subprocess.run(["redis-cli", "-p", str(port), "--no-raw", *protocol], input=script.encode(),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False).stdout
    answers = out.decode(errors="replace").split('"--answered--"\n')
    check(len(answers) == len(lines) + 1, f"{len(answers) - 1} answers to {len(lines)} lines\n{answers[-3:]}")
    return answers[:-1]


def compare(line, theirs, ours, documented, seen):
    """Returns what is wrong, or None."""
    same = line.is_same(theirs, ours)
    if line.row is not None and line.row not in documented:
        return f"there is no row {line.row} in differences.h"
    if not same and line.row is not None:
        seen.add(line.row)
    if same == (line.row is None):
        return None
    return "no longer different" if same else "differs, and no row is named"


def test_no_difference_but_the_documented():
    lines, documented, seen, wrong = read_lines(), rows(), set(), []
    with Redis() as redis:
        for protocol in ((), ("-3",)):
            with Daemon(shards=2) as daemon:
                daemon.start()
                with Client(redis.port) as client:
                    client.ask("FLUSHALL")
                for line, theirs, ours in zip(lines, cli(redis.port, protocol, lines),
                                              cli(port_of(daemon), protocol, lines)):
                    what = compare(line, theirs, ours, documented, seen)
                    if what:
                        wrong.append(f"{what}: {line.text}\nRedis: {theirs[:1500]}\nBelay: {ours[:1500]}")
    wrong += [f"no line of {COMMANDS.name} shows row {name} of differences.h"
              for name, (_, shown) in documented.items() if not shown and name not in seen]
    check(not wrong, "\n".join(wrong))


def test_every_command_is_compared():
    compared = {word.lower() for line in read_lines() for part in line.text.split("\n") for word in part.split()[:1]}
    with Daemon() as daemon:
        daemon.start()
        with Client(port_of(daemon)) as client:
            offered = {name.decode() for name in client.ask("COMMAND", "LIST")}
    for name, file in ELSEWHERE.items():
        check(name in (COMMANDS.parent.parent / file).read_text().lower(), f"{name} is not in {file}")
    check(offered <= compared | set(ELSEWHERE), f"not in {COMMANDS.name}: {offered - compared - set(ELSEWHERE)}")


if __name__ == "__main__":
    run_cases(__name__)
