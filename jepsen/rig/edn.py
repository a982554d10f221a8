"""As much of EDN (extensible data notation) as histories need: nil, booleans, integers, floats, strings, keywords,
vectors, maps, sets. A keyword is a Keyword here, which is a str; text in Python becomes a string of EDN."""

import re

TOKEN = re.compile(r'[\s,]*(?:(?P<open>#\{|[\[{(])|(?P<close>[\]})])|"(?P<text>(?:[^"\\]|\\.)*)"|'
                   r'(?P<word>[^\s,\[\]{}()"]+))')
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
CLOSING = {"[": "]", "(": ")", "{": "}", "#{": "}"}


class Keyword(str):
    """:so"""


def write(value):
    """One value as text."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Keyword):
        return f":{value}"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{plain}"'
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(write, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return "#{" + " ".join(map(write, sorted(value))) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(key)} {write(each)}" for key, each in value.items()) + "}"
    raise TypeError(f"{type(value)} has no form in EDN here")


def read(text):
    """The one value that `text` holds. Raises ValueError where it does not."""
    tokens = list(_tokens(text))
    value, at = _value(tokens, 0)
    if at != len(tokens):
        raise ValueError(f"more than one value: {text[:80]!r}")
    return value


def _tokens(text):
    text, at = text.rstrip(), 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"no EDN: {text[at:at + 40]!r}")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def _value(tokens, at):
    if at >= len(tokens):
        raise ValueError("the text ends within a value")
    kind, text = tokens[at]
    if kind == "text":
        return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), text), at + 1
    if kind == "word":
        return _word(text), at + 1
    if kind == "close":
        raise ValueError(f"nothing is open that {text!r} closes")
    return _collection(tokens, at + 1, text)


def _collection(tokens, at, opened):
    items = []
    while at < len(tokens) and tokens[at] != ("close", CLOSING[opened]):
        item, at = _value(tokens, at)
        items.append(item)
    if at >= len(tokens):
        raise ValueError(f"{opened!r} is not closed")
    if opened == "#{":
        return set(items), at + 1
    if opened == "{":
        if len(items) % 2:
            raise ValueError("a key without a value")
        return dict(zip(items[::2], items[1::2])), at + 1
    return items, at + 1


def _word(text):
    if text[0] == ":" and len(text) > 1:
        return Keyword(text[1:])
    if text in ("nil", "true", "false"):
        return {"nil": None, "true": True, "false": False}[text]
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    return float(text)
