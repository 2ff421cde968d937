"""Names as Python has them, and comments as its documentation shows them."""

import keyword
import re

# Words with capitals inside, as one word.
WORDS = ("PReLU", "ReLUN", "ReLU", "GeLU", "GPU", "UInt8", "UInt32", "Int8", "MTGP32", "LSTM", "CPU")
SPLIT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(name):
    """`encodeBatch` -> `encode_batch`, `GPUStartTime` -> `gpu_start_time`."""
    for word in WORDS:
        name = re.sub(f"{word}(?![a-z])", word.capitalize(), name)
    name = re.sub(r"_+", "_", SPLIT.sub("_", name)).lower()
    return spelled(name)


def spelled(name):
    """The name, with `_` behind it where Python keeps the word for itself (`None`, `lambda`)."""
    return name + "_" if keyword.iskeyword(name) else name


def doc_text(raw):
    """The words of a `///` comment."""
    if not raw:
        return ""
    lines = [re.sub(r"^\s*//[/!]<?\s?", "", line).rstrip() for line in raw.splitlines()]
    return "\n".join(lines).strip()


CAMEL = re.compile(r"(?<![\w.:/])[a-z][a-z0-9]*(?:[A-Z][a-zA-Z0-9]*)+(?![\w])")
SPEC = re.compile(r"\s*\(spec: [^)]*\)|\s*;?\s*spec: [^.;)]*(?=[.)])")


def python_doc(text, members):
    """A comment with the names of `members` in snake_case, without the places in the specification."""

    def rename(match):
        name = match[0]
        if re.match(r"set[A-Z]", name) and name[3].lower() + name[4:] in members:
            return snake(name[3:])
        return snake(name) if name in members else name

    text = SPEC.sub("", text).replace("()", "")
    text = text.replace("::", ".").replace("std.", "std::")
    return CAMEL.sub(rename, text).strip()
