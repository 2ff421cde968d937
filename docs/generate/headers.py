"""What the pages need of the headers' text: how a declaration is spelled, ranges, names of operators."""

import pathlib
import re
from dataclasses import dataclass, field

OPERATOR = re.compile(r"^struct (\w+) \{\n  static constexpr std::string_view name = \"([^\"]+)\";", re.M)
FIELD = re.compile(r"field\(\"(\w+)\",\s*[\w.]+(?:,\s*([^;]+?))?\);")
NAMED_RANGE = re.compile(r"inline constexpr FieldRange (\w+)\{([^;]*)\};")
RANGE = re.compile(r"FieldRange\{(.*)\}$")
CASE = re.compile(r"^\s*(\w+)\s*(?:=[^,/]*)?,?\s*(?://\s*(.*))?$")


@dataclass
class Operator:
    struct: str
    name: str  # that of its kernel class, or `Class.part`
    ranges: dict = field(default_factory=dict)  # field -> words


class Header:
    """One header: its text, and declarations found in it by their lines."""

    def __init__(self, path):
        self.text = pathlib.Path(path).read_text(encoding="utf-8")
        self.lines = self.text.splitlines()

    def comment(self):
        """The comment that the file begins with."""
        found = []
        for line in self.lines[1:]:
            if not line.startswith("//"):
                break
            found.append(line[2:].removeprefix(" "))
        return "\n".join(found).strip()

    def declaration(self, line, name):
        """`name(...)` as it is spelled from a line on, and what stands before it. A constructor that
        comes from a class template has that one's name here."""
        text = "\n".join(self.lines[line - 1 :])
        begin = re.search(rf"\b{re.escape(name)}\(", "\n".join(self.lines[line - 1 : line + 2]))
        begin = begin or re.search(r"\b\w+\(", text)
        depth, at = 1, begin.end()
        while depth:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text[at], 0)
            at += 1
        return " ".join(text[: begin.start()].split()), " ".join(text[begin.start() : at].split())

    def result(self, line, name):
        """The type in front of a function, without what surrounds it."""
        before, _ = self.declaration(line, name)
        if not before:  # it stands on the line before
            before = self.lines[line - 2].strip()
        return plain(before)

    def body(self, line):
        """A class from its first line on."""
        text = "\n".join(self.lines[line - 1 :])
        return text[: text.index("\n};")]

    def first_value(self, line, getter):
        """What the member begins with that a getter of the class at a line returns, if it can be told."""
        body = self.body(line)
        returned = re.search(rf"\b{getter}\(\) const(?: override)? \{{\s*return (\w+);\s*\}}", body)
        values = re.findall(rf"\b{returned[1]}\s*=\s*([^,;]+)[,;]", body) if returned else []
        return value_in_words(" ".join(values[-1].split())) if values else ""  # members stand behind setters

    def cases(self, line):
        """Comments behind the cases of the enum that begins at a line."""
        found = {}
        for text in self.lines[line - 1 :]:
            inside = text.partition("{")[2] if "enum" in text else text
            match = CASE.match(inside.partition("}")[0])
            if match and match[2]:
                found[match[1]] = match[2]
            if "}" in text:
                return found
        return found


def plain(type_):
    """A type as a table shows it: without attributes, const and reference."""
    type_ = re.sub(r"\[\[\w+\]\]|\b(?:virtual|static|explicit|constexpr|inline)\b", "", type_)
    type_ = " ".join(type_.split())
    pointer = type_.endswith("*")
    return type_ if pointer else re.sub(r"^const |\s*&+$", "", type_).strip()


def value_in_words(value):
    """A default as tables show it; empty where it would say little."""
    if value in ("all_elements", "all_channels"):
        return "all"
    if re.fullmatch(r"-?[\d.e-]+F?(?:\s*/\s*\d+)?", value):
        return value.replace("F", "")
    if re.fullmatch(r"true|false|RectNoClip|nullptr", value):
        return value.replace("nullptr", "null")
    case = re.fullmatch(r"\w+::([A-Z]\w*)", value)
    return case[1] if case else ""


def parameters(signature):
    """(type, name, default) of each parameter of `name(...)`."""
    inside = re.sub(r"/\*\s*(\w+)\s*\*/", r"\1", signature[signature.index("(") + 1 : -1])  # of unused ones
    found, depth, part = [], 0, ""
    for letter in inside + ",":
        if letter == "," and depth == 0:
            words, _, default = part.partition(" = ")
            match = re.match(r"(.*?)(\w+)\s*$", words.strip())
            if match:
                found.append((match[1].strip(), match[2], default.strip()))
            part = ""
            continue
        depth += {"(": 1, "{": 1, "<": 1, ")": -1, "}": -1, ">": -1}.get(letter, 0)
        part += letter
    return found


class Headers:
    """All headers below a folder."""

    def __init__(self, include):
        self.include = pathlib.Path(include)
        self.known = {}
        self.named_ranges = {}
        for path in sorted(self.include.rglob("*.h")):
            for name, inside in NAMED_RANGE.findall(path.read_text(encoding="utf-8")):
                self.named_ranges[name] = inside

    def __getitem__(self, name):
        if name not in self.known:
            self.known[name] = Header(self.include / name)
        return self.known[name]

    def at(self, place):
        """The header and the line of `include/file:line`."""
        file, _, line = place.removeprefix("include/").rpartition(":")
        return self[file], int(line)

    def spelled(self, function):
        """A function's declaration, `name(...)`, on one line."""
        header, line = self.at(function.place)
        return header.declaration(line, function.name)[1]

    def result(self, function):
        header, line = self.at(function.place)
        return header.result(line, function.name)

    def operators(self, name):
        """The operators of a header, by the name of their struct."""
        text, found = self[name].text, {}
        for match in OPERATOR.finditer(text):
            body = text[match.start() : text.index("\n};", match.start())]
            operator = Operator(match[1], match[2])
            for field_, range_ in FIELD.findall(body):
                words = self.range_words(range_.strip())
                if words:
                    operator.ranges[field_] = words
            found[match[1]] = operator
        return found

    def range_words(self, range_):
        """`FieldRange{1, 32767}` in words; empty where it says nothing that the type does not."""
        inside = self.named_ranges.get(range_)
        if inside is None:
            match = RANGE.match(range_)
            if not match:
                return ""
            inside = match[1]
        least, _, most = (part.strip() for part in inside.partition(","))
        shift = re.match(r"(\d+) << (\d+)$", most)
        most = str(int(shift[1]) << int(shift[2])) if shift else most
        if (least, most) == ("0", "1"):
            return ""
        return f"{least} to {most}" if most.isdigit() else f"{least} or more"
