"""C++ types as the headers spell them, parsed into small trees."""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r"\s*(::|[A-Za-z_]\w*|\d+|&&|\.\.\.|[<>(),*&\[\]])")


@dataclass
class Type:
    """`const Name<args>*&`: `pointer` and `reference` say what follows the name."""

    name: str
    args: list = field(default_factory=list)
    const: bool = False
    pointer: bool = False
    reference: str = ""  # "", "&" or "&&"
    parameters: list = None  # of a function type `R(A, B)`, whose result is the rest

    def value(self):
        """The type without reference and, unless it is a pointer, without const."""
        return Type(self.name, self.args, self.const and self.pointer, self.pointer, "", self.parameters)

    def pointee(self):
        return Type(self.name, self.args, self.const)

    def __str__(self):
        text = ("const " if self.const else "") + self.name
        if self.args:
            text += "<" + ", ".join(map(str, self.args)) + ">"
        text += "*" if self.pointer else ""
        if self.parameters is not None:
            text += "(" + ", ".join(map(str, self.parameters)) + ")"
        return text + self.reference

    def names(self):
        """Every name in the tree."""
        yield self.name
        for part in self.args + (self.parameters or []):
            yield from part.names()


class Parser:
    def __init__(self, text):
        self.text = text
        self.tokens = TOKEN.findall(text)
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted=None):
        token = self.peek()
        if wanted is not None and token != wanted:
            raise ValueError(f"cannot read the type '{self.text}'")
        self.at += 1
        return token

    def list_until(self, end):
        items = []
        while self.peek() != end:
            items.append(self.type())
            if self.peek() == "...":
                self.take()
            if self.peek() != end:
                self.take(",")
        self.take(end)
        return items

    def type(self):
        words, const = [], False
        while re.match(r"\w|::", self.peek()):
            token = self.take()
            if token == "const":
                const = True
            elif token not in ("class", "struct", "enum", "typename", "volatile"):
                words.append(token)
        if not words:
            raise ValueError(f"cannot read the type '{self.text}'")
        name = words[0]
        for before, word in zip(words, words[1:]):
            name += word if "::" in (before, word) else " " + word
        result = Type(name.removeprefix("cermet::"), const=const)
        if self.peek() == "<":
            self.take()
            result.args = self.list_until(">")
        while self.peek() in ("*", "&", "&&", "const", "("):
            token = self.take()
            if token == "*":
                result.pointer = True
            elif token == "const":
                result.const = result.const or not result.pointer
            elif token == "(":
                result.parameters = self.list_until(")")
            else:
                result.reference = token
        return result


def parse(text):
    """The tree; a type that this cannot read keeps its text as its name, which no rule knows."""
    parser = Parser(text)
    try:
        result = parser.type()
    except ValueError:
        return Type(text)
    if parser.peek() == "...":
        parser.take()
    return Type(text) if parser.peek() else result
