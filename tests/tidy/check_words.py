"""Nothing in the tree belongs to one machine, one person or one network."""

import re
import sys

import tree

PATHS = re.compile(r"(?<![\w.$}-])/(?:work|home|root|Users)/[\w.-]+")
ADDRESS = re.compile(r"\b[a-z][a-z0-9+]*://([^\s/:\"'<>)`]+)")
HOSTS = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\]|[\w.-]*example\.(?:com|org|net)|(?:www\.)?apache\.org|[\w.%-]*amazonaws\.com|"
    r"(?:www\.)?w3\.org|(?:www\.)?rfc-editor\.org|prometheus\.io|bucket|[A-Z][A-Z_]*|\W.*)")
REGISTRIES = re.compile(r"\b(?:deb\.debian\.org|registry\.npmjs\.org|pypi\.org|proxy\.golang\.org|"
                        r"crates\.io|docker\.io)\b")


def check(path):
    try:
        text = (tree.TOP / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATHS.finditer(line):
            yield f"{path}:{number}: path of one machine: {match[0]}"
        for match in ADDRESS.finditer(line):
            if not HOSTS.fullmatch(match[1]):
                yield f"{path}:{number}: host {match[1]}"
        for match in REGISTRIES.finditer(line):
            yield f"{path}:{number}: registry {match[0]}"


def main():
    here = "tests/tidy/check_words.py"
    wrong = [problem for path in tree.files() if str(path) != here for problem in check(path)]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
