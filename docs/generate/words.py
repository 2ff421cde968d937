"""Comments of the headers as Markdown."""

import re

SPEC = re.compile(r"\s*\(spec: ([^)]*)\)|\s*;?\s*\bspec: ([^.;)]*)(?=[.)])|^spec: (.*)$", re.S)
SENTENCE = re.compile(r"(?<=[.:])\s+(?=[A-Z(`])")
THROWS = re.compile(r"\b[Tt]hrows?\b")
DEFAULT = re.compile(r"\s*\bDefault:? ((?:[^.\s]|\.(?=\S)|\s(?!Default))+?)(?=\.(?:\s|$))\.", re.S)
CLASS = re.compile(r"(?<![\w.:\[/#])[A-Z]\w{4,}(?:(?![\w(\].])|(?=\.(?:\s|$)))")
TICKED = re.compile(r"(`[^`]*`)")


def specification(text):
    """The places in the specification that a comment names."""
    places = [" ".join(next(p for p in match if p is not None).split()) for match in SPEC.findall(text)]
    return [place for place in (p.split(";")[0].strip() for p in places) if place]


def without_places(text):
    return SPEC.sub("", text).strip()


def sentences(text):
    """A paragraph in sentences; a colon does not end one."""
    found = []
    for part in SENTENCE.split(" ".join(text.split())):
        if found and (found[-1].endswith(":") or re.search(r"\b(?:e\.g|i\.e|cf)\.$", found[-1])):
            found[-1] += " " + part
        else:
            found.append(part)
    return found


def first_sentence(text):
    """The first sentence of a comment, on one line."""
    paragraph = re.split(r"\n\s*\n|\n(?= {2,}\S)", without_places(text).strip())[0]
    first = sentences(paragraph)[0] if paragraph else ""
    return re.sub(r":$", ".", first)


def escaped(text):
    """Prose with the letters that Markdown would take for its own, outside of `code` and where notes have not done it."""
    parts = TICKED.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<!\\)([*_<\[\]|~])", r"\\\1", parts[i])
    return "".join(parts)


class Prose:
    """Comments as Markdown; names of classes become links by `link(name)`, which may give None."""

    def __init__(self, link):
        self.link = link

    def linked(self, text):
        def replace(match):
            target = self.link(match[0])
            return f"[{match[0]}]({target})" if target else match[0]

        parts = TICKED.split(text)
        for i in range(0, len(parts), 2):
            parts[i] = CLASS.sub(replace, parts[i])
        return "".join(parts)

    def line(self, text):
        """One line, for cells and lists."""
        return self.linked(escaped(" ".join(without_places(text).split())))

    def paragraphs(self, text, keep=lambda sentence: True):
        """A comment: prose, and indented lines as blocks; sentences that `keep` refuses are left out."""
        blocks, prose, code = [], [], []

        def end_prose():
            kept = " ".join(s for s in sentences("\n".join(prose)) if keep(s)) if prose else ""
            if kept.strip():
                blocks.append(self.linked(escaped(kept)))
            prose.clear()

        def end_code():
            if code:
                blocks.append("```text\n" + "\n".join(trimmed(code)) + "\n```")
            code.clear()

        for line in without_places(text).splitlines():
            if re.match(r" {2,}\S", line):
                end_prose()
                code.append(line)
            elif code and not line.strip():
                code.append("")
            else:
                end_code()
                if line.strip():
                    prose.append(line)
                else:
                    end_prose()
        end_prose()
        end_code()
        return "\n\n".join(blocks)


def trimmed(lines):
    """Without empty lines around and with the common indentation removed."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[indent:].rstrip() for line in lines]


def thrown(text):
    """The sentences of a comment that say when something throws, with what "others" are other than."""
    found = []
    for paragraph in re.split(r"\n\s*\n", without_places(text)):
        before = ""
        for sentence in sentences(paragraph):
            if THROWS.search(sentence):
                found.append(f"{before} {sentence}" if re.search(r"\bfor others\.", sentence) else sentence)
            before = sentence
    return found


def shortened(text, most=180):
    """A line for a table; a formula that is longer than a line ends early."""
    if len(text) <= most:
        return text
    return text[: text.rindex(" ", 0, most)].rstrip(",;:") + " ..."


def told(text):
    """The rest of them, as one comment."""
    return " ".join(s for p in re.split(r"\n\s*\n", without_places(text)) for s in sentences(p) if not THROWS.search(s))


def default_in(text):
    """The default that a comment states, and the comment without it."""
    match = DEFAULT.search(text)
    if not match:
        return "", text
    value, colon, why = " ".join(match[1].split()).partition(": ")
    rest = text[: match.start()] + (f" {value[0].upper()}{value[1:]}: {why}." if colon else "") + text[match.end() :]
    return value, rest.strip()
