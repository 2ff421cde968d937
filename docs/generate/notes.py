"""Fragments written by hand: docs/kernels/notes/<page>.md.

    setup: weights                            more code before the samples, notes/setup_weights.py
    # text                                    the title; what follows it comes first on the page
    ## CNNName                                about a class
    ## CNNFirst ... CNNLast                   a table for these neighbours instead of a section for each
    ### original                              how this differs from what the original prints
    ### sample                                a code block that makes the kernel and prints its result

Anything below `## CNNName` and before a `###` stands behind the class's own comment.
"""

import re
from dataclasses import dataclass, field


@dataclass
class Note:
    names: list  # one, or the first and the last of neighbours
    text: str = ""
    original: str = ""
    sample: str = ""
    used: bool = False


@dataclass
class Notes:
    title: str = ""
    intro: str = ""
    setup: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def of(self, name):
        """The note about a class, or None."""
        for note in self.notes:
            if note.names == [name]:
                note.used = True
                return note
        return None


class Malformed(Exception):
    pass


def read_notes(path):
    """The notes in a file; empty ones where there is no file."""
    found = Notes()
    if not path.exists():
        return found
    parts, at, fenced = [], None, False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fenced = fenced != line.startswith("```")
        heading = re.match(r"(#{1,3}) (.*)$", line) if not fenced else None
        if heading:
            at = [len(heading[1]), heading[2].strip(), [], number]
            parts.append(at)
        elif at is None and line.startswith("setup:"):
            found.setup += line.split()[1:]
        elif at is not None:
            at[2].append(line)
        elif line.strip():
            raise Malformed(f"{path}:{number}: text before the title")
    for level, words, lines, number in parts:
        text = "\n".join(lines).strip()
        if level == 1:
            found.title, found.intro = words, text
        elif level == 2:
            names = [name for name in words.split() if name != "..."]
            found.notes.append(Note(names, text))
        elif not found.notes or words not in ("original", "sample"):
            raise Malformed(f"{path}:{number}: '### {words}' is none of: original, sample, below '## Class'")
        else:
            setattr(found.notes[-1], words, text)
    return found


def read_table(path):
    """The rows of the first two columns of a file's table, by the first."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = cells[1]
    return rows
