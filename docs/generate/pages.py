"""The pages of kernels: docs/kernels/*.md, from the declarations and the fragments in notes/."""

import re

import words
from headers import parameters, plain, value_in_words
from kernels import COMMON, ENCODES, Library
from names import snake
from notes import read_notes, read_table
from words import Prose, default_in, first_sentence, shortened, told

HEAD = "<!-- Made by scripts/pages from the headers and docs/kernels/notes: change those. -->\n"
UP = "../../"
LITERALS = {"true": "True", "false": "False", "nullptr": "None"}


class Incomplete(Exception):
    """Something that only a fragment can say is missing."""


def anchor(heading):
    """How the address of a heading is spelled."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cell(text):
    """A cell of a table: `code` may have bars, too."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows])


def python_default(text, type_):
    """A default argument as Python spells it."""
    if re.fullmatch(r"-?[\d.]+F?", text):
        return text.removesuffix("F")
    if text == "{}" and type_.startswith("std::"):
        return "None"
    if text == "{}":
        return "None" if type_ == "Device" else f"{type_}()"
    return LITERALS.get(text, text.replace("::", "."))


def wrapped(text, width=100):
    """A declaration or call in lines of at most `width`, where its arguments allow."""
    if len(text) <= width:
        return text
    begin, inside = text[: text.index("(") + 1], text[text.index("(") + 1 : -1].strip()
    lines, line = [begin], "    "
    for part in re.split(r"(?<=,) (?![^<({]*[>)}])", inside):
        if len(line) + len(part) > width and line.strip():
            lines.append(line.rstrip())
            line = "    "
        line += part + " "
    return "\n".join(lines + [line.rstrip() + ")"])


def fenced(language, text):
    return f"```{language}\n{text}\n```"


class Writer:
    def __init__(self, root, model, surface):
        self.library = Library(root, model, surface)
        self.model, self.surface = model, surface
        self.headers = self.library.headers
        self.folder = self.library.root / "docs" / "kernels"
        self.meanings = read_table(self.folder / "notes" / "words.md")
        self.used_meanings = set()
        self.notes = {page.stem: read_notes(self.folder / "notes" / f"{page.stem}.md") for page in self.library.pages}

    # -- links ---------------------------------------------------------------------------------------

    def prose(self, stem, here=()):
        """How comments become Markdown on a page: classes elsewhere are links."""

        def link(name):
            if name in here:
                return None
            address = self.address(name)
            return address and address.removeprefix(f"{stem}.md")

        return Prose(link)

    def address(self, name):
        page = self.library.page_of.get(name)
        if page is not None:
            for note in self.groups(page):
                if name in self.neighbours(page, note):
                    return f"{page.stem}.md#{anchor(self.heading_of(page, note))}"
            return f"{page.stem}.md#{anchor(name)}"
        one = self.model.classes.get(name)
        if one is not None and one.header in COMMON and not one.internal:
            return f"common.md#{anchor(name)}" if name in self.common_classes() else None
        return None

    def source(self, place):
        file, _, line = place.rpartition(":")
        return f"[{file.rpartition('/')[2]}:{line}]({UP}{file}#L{line})"

    # -- parts of a class ----------------------------------------------------------------------------

    def arguments(self, overload):
        """The parameters of a function as the header spells them: (type, C++ name, default)."""
        return parameters(self.headers.spelled(overload.function))

    def python_call(self, overload, call):
        """`call(arguments)` in Python."""
        spelled = {n: (t, d) for t, n, d in self.arguments(overload)}
        parts = []
        for argument in overload.shown():
            type_, default = spelled.get(argument.parameter.name, ("", ""))
            parts.append(argument.name + (f"={python_default(default, plain(type_))}" if default else ""))
        parts += ["outputs=True"] if overload.flag() else []
        return f"{call}({', '.join(parts)})"

    def returned(self, overload):
        """What a call in Python returns in the place of arguments that C++ writes to."""
        names = [] if str(overload.result) == "void" else ["result"]
        names += [a.name for a in overload.outs()]
        return f" → `({', '.join(names)}{',' if len(names) == 1 else ''})`" if overload.outs() else ""

    def makers(self, name):
        """(C++, Python, comment) of initialisers, and of static functions that make one."""
        one, short = self.surface.classes[name], name.split("::")[-1]
        found = []
        for overload in self.library.inits(name):
            text = self.headers.spelled(overload.function)
            call = self.python_call(overload, f"cermet.{name}")
            found.append((short + text[text.index("(") :].replace("( ", "("), call, overload.function.doc))
        if one.aggregate:
            names = [f"{m.name}=..." for m in one.members.values() if m.field]
            first = next(cpp for cpp, m in one.members.items() if m.field)
            found.append((f"{name}{{.{first} = ...}}", f"cermet.{name}({', '.join(names)})", ""))
        for member in one.members.values():
            for overload in member.overloads if member.kind == "static" else []:
                result = plain(self.headers.result(overload.function))
                if name in re.findall(r"\w+", result):
                    text = self.headers.spelled(overload.function)
                    call = self.python_call(overload, f"cermet.{name}.{member.name}")
                    found.append((f"{short}::{text}".replace("( ", "("), call, overload.function.doc))
        return found

    def made(self, name, prose):
        """How a class is made, in both languages."""
        makers = self.makers(name)
        if not makers:
            return []
        blocks = [
            fenced("cpp", "\n".join(wrapped(c) for c, _, _ in makers)),
            fenced("py", "\n".join(wrapped(p) for _, p, _ in makers)),
        ]
        remarks = [(p.removeprefix("cermet."), told(doc)) for _, p, doc in makers]
        remarks = [(c, t) for c, t in remarks if t]
        if len(makers) == 1:
            blocks += [prose.line(t) for _, t in remarks]
        else:
            blocks += ["\n".join(f"- `{c}`: {prose.line(t)}" for c, t in remarks)] if remarks else []
        return blocks

    def options(self, name):
        """Rows (C++, Python, type, set, default, comment, whether it is its own) of arguments and properties."""
        one, ranges, rows = self.surface.classes[name], self.library.ranges_of(name), {}
        for overload in self.library.inits(name):
            for type_, cpp, default in self.arguments(overload):
                shown = [a for a in overload.shown() if a.parameter.name == cpp]
                if cpp == "device" or cpp in rows or not shown:
                    continue
                rows[cpp] = [cpp, shown[0].name, plain(type_), "init", default and value_in_words(default), ""]
        for cpp, member in one.members.items():
            if member.kind != "property":
                continue
            row = rows.setdefault(cpp, [cpp, member.name, "", "", "", ""])
            written = member.field or member.setter
            row[3] = "init, any time" if row[3] and written else row[3] or ("any time" if written else "read")
            if member.field:
                row[2] = str(member.field.type.value())
                default, row[5] = default_in(member.field.doc)
            else:
                row[2] = plain(self.headers.result(member.getter.function))
                docs = [member.getter.function.doc, member.setter.function.doc if member.setter else ""]
                default, row[5] = default_in(" ".join(told(d) for d in dict.fromkeys(docs) if d))
            row[4] = default or row[4]
        forward = self.library.forward(name)
        known = {row[0] for row in self.options(forward)} if forward else ()
        for row in rows.values():
            row.append(bool(row[5]) or f"{name}.{row[0]}" in self.meanings)
            if not row[5] and (row[6] or row[0] not in known):
                default, row[5] = default_in(self.meaning(name, row[0]))
                row[4] = row[4] or default
                if not row[5] and row[0].endswith("Y") and row[0][:-1] + "X" in rows:
                    row[5] = "The same along y."
            if row[0] in ranges:
                row[5] = f"{row[5]} {ranges[row[0]]}.".strip() if ranges[row[0]] not in row[5] else row[5]
            row[4] = row[4] or ("given" if row[3] == "init" else self.first_value(name, row[0]))
        return list(rows.values())

    def meaning(self, name, cpp):
        """What an option without a comment means: said of the class, its bases or its descriptor, or of all."""
        lineage = self.library.lineage(name)
        given = [p.type for o in self.library.inits(name) for p in o.function.parameters]
        given = [n for type_ in given for n in type_.names() if n.endswith("Descriptor")]
        for key in [f"{base}.{cpp}" for base in lineage]:
            if key in self.meanings:
                self.used_meanings.add(key)
                return self.meanings[key]
        for base in lineage[1:] + given:
            member = self.surface.classes[base].members.get(cpp) if base in self.surface.classes else None
            if member is not None and member.getter is not None and member.getter.function.doc:
                return default_in(told(member.getter.function.doc))[1]
        self.used_meanings.add(cpp)
        return self.meanings.get(cpp, "")

    def first_value(self, name, cpp):
        """What the member behind a getter, or an operator's field, begins with."""
        one = self.model.classes[name]
        header, line = self.headers.at(one.place)
        value = header.first_value(line, cpp)
        member = self.surface.classes[name].members.get(cpp)
        if member is not None and member.field:
            found = re.search(rf"\b{cpp} = ([^,;]+)[,;]", header.body(line))
            value = value_in_words(found[1].strip()) if found else ""
        for struct in self.library.operators_of(name) if not value else []:
            match = re.search(rf"struct {struct.removesuffix('Gradient')} \{{(.*?)\n\}};", header.text, re.S)
            found = match and re.search(rf"\b{cpp} = ([^,;]+)[,;]", match[1])
            value = value or (value_in_words(found[1].strip()) if found else "")
        return value

    def option_table(self, name, prose):
        """The options as a table, and those that are told elsewhere in a sentence."""
        rows, same, silent = self.options(name), [], []
        forward = self.library.forward(name)
        known = {row[0]: row for row in self.options(forward)} if forward else {}
        shown = []
        for row in rows:
            if row[0] in known and (not row[6] or row[5] == known[row[0]][5]):
                same.append(row)
            elif row[3] == "read" and not row[6]:
                silent.append(row)
            else:
                shown.append(row)
        blocks = []
        if shown:
            head = ["C++", "Python", "type", "set", "default", "meaning"]
            cells = [
                [f"`{c}`", f"`{p}`", f"`{t}`", s, f"`{d}`" if d and d != "given" else d, prose.line(m)]
                for c, p, t, s, d, m, _ in shown
            ]
            blocks.append(table(head, cells))
        if same:
            blocks.append(f"As in {prose.linked(forward)}: " + ", ".join(f"`{r[0]}`" for r in same) + ".")
        if silent:
            names = [f"`{r[0]}`" if r[0] == r[1] else f"`{r[0]}` (`{r[1]}`)" for r in silent]
            blocks.append(f"Read only: {', '.join(names)}.")
        return blocks

    def calls(self, name, prose):
        """Functions of a class but for what makes one, and `copy`."""
        one, lines = self.surface.classes[name], []
        hooks = {o.function.name for o in one.hooks} if one.subclassable else set()
        for key, member in one.members.items():
            skipped = key in ("copy", "encodeWithCoder", "supportsSecureCoding") and not hooks
            if member.kind == "property" or member.deleted or skipped:
                continue
            for overload in member.overloads:
                cpp = key
                if member.kind == "static" and name in re.findall(r"\w+", self.headers.result(overload.function)):
                    continue
                parts = ", ".join(n for _, n, _ in self.arguments(overload))
                python = f"`{self.python_call(overload, member.name)}`{self.returned(overload)}"
                what = told(overload.function.doc)
                if hooks:  # whoever defines it needs the types
                    result = plain(self.headers.result(overload.function))
                    parts = ", ".join(f"{t} {n}" for t, n, _ in self.arguments(overload))
                    cpp = f"{result} {cpp}"
                end = " const" if hooks and overload.function.const else ""
                must = "**must** · " if overload.function.pure else ""
                lines.append((f"`{cpp}({parts}){end}`", python, must, prose.line(what)))
        return [f"- {must}{cpp} · {python}" + (f"<br>{what}" if what else "") for cpp, python, must, what in lines]

    def errors(self, name):
        """(sentence, where) of the comments that say when something throws; nowhere: the class's own."""
        one, found = self.surface.classes[name], {}
        said = [("", one.cpp.doc)] + [("", template.doc) for template, _ in self.library.templates(name)]
        said += [(cpp.split("(")[0].rpartition("::")[2], doc) for cpp, _, doc in self.makers(name)]
        for member in one.members.values():
            overloads = member.overloads + [o for o in (member.getter, member.setter) if o]
            said += [(o.function.name, o.function.doc) for o in overloads]
        for where, doc in said:
            for sentence in words.thrown(doc):
                places = found.setdefault(sentence, [])
                places += [where] if where and where not in places else []
        return list(found.items())

    def formulas(self, name, shown):
        """The operators' comments, each once on a page."""
        blocks = []
        for struct in self.library.operators_of(name):
            if struct in shown:
                continue
            shown.add(struct)
            doc = words.without_places(self.model.classes[struct].doc)
            if doc:
                blocks.append(f"**Formula** (operator `{struct}`)\n\n" + fenced("text", doc))
        return blocks

    def facts(self, name, prose, page):
        lines = []
        errors = self.errors(name)
        if errors:
            said = ["".join(f"`{w}`, " for w in where)[:-2] + ": " * bool(where) + prose.line(s) for s, where in errors]
            lines.append("**Errors**: " + said[0] if len(said) == 1 else "**Errors**\n\n" + "\n".join(f"- {s}" for s in said))
        if self.library.is_concrete(name):
            state = None if self.library.is_gradient(name) else self.library.state_of(name)
            if state:
                shared = "one for all images of a batch" if state[1] else "one for each image"
                lines.append(f"**State**: an encode can leave a {prose.linked(state[0])}, {shared}.")
            found = self.library.files([name], page)
            if found:
                lines.append("**Files**: " + ", ".join(f"[{what}]({UP}{path})" for what, path in found))
        places = words.specification(self.model.classes[name].doc)
        for overload in self.surface.classes[name].inits:
            places += words.specification(overload.function.doc)
        if places:
            lines.append("**Specification**: " + "; ".join(dict.fromkeys(places)))
        return lines

    def summary(self, name):
        """One line about a class."""
        if name in self.meanings:
            self.used_meanings.add(name)
            return self.meanings[name]
        doc = self.model.classes[name].doc
        if doc:
            return first_sentence(doc)
        note = self.notes[self.library.page_of[name].stem].of(name) if name in self.library.page_of else None
        if note and note.text:
            return first_sentence(note.text)
        forward = self.library.forward(name)
        if forward:
            return f"The gradient of {forward}."
        base = next((b for b in self.library.lineage(name)[1:] if self.model.classes[b].doc), None)
        return first_sentence(self.model.classes[base].doc) if base else ""

    def origin(self, name):
        """The line below a heading: the original's name, how it is encoded, where it is declared."""
        one = self.model.classes[name]
        parts = [f"`MPS{name}`" if f"MPS{name}" in self.originals() else "ours"]
        if self.surface.classes[name].abstract and not self.surface.classes[name].subclassable:
            parts.append("a base class")
        bases = [self.prose("").linked(b) for b in self.surface.classes[name].bases if b in self.library.page_of]
        encode = self.library.encode_of(name) if self.library.is_kernel(name) else None
        if bases:
            parts.append("a " + ", ".join(bases))
        if encode:
            parts.append(f"{encode[0]} ([common](common.md#{encode[1]}))")
        return " · ".join(parts + [self.source(one.place)])

    def originals(self):
        if not hasattr(self, "original_names"):
            with open(self.library.root / "docs/api/inventory.tsv", encoding="utf-8") as file:
                rows = [line.split("\t") for line in file]
            self.original_names = {cell for row in rows for cell in row[:4]}
        return self.original_names

    # -- sections ------------------------------------------------------------------------------------

    def section(self, name, page, level, shown):
        prose = self.prose(page.stem, {name})
        note = self.notes[page.stem].of(name)
        doc = self.model.classes[name].doc
        blocks = [f"{'#' * level} {name}", self.origin(name).replace(f"]({page.stem}.md#", "](#")]
        said = prose.paragraphs(doc, lambda s: not words.THROWS.search(s))
        blocks.append(said or ("" if note and note.text else prose.line(self.summary(name))))
        blocks += [prose.paragraphs(text) for text in self.library.shared_remarks(name)]
        blocks.append(note.text if note else "")
        if note and note.original:
            blocks.append("> **Differs from the original's text.** " + note.original.replace("\n", "\n> "))
        blocks += self.formulas(name, shown)
        blocks += self.made(name, prose)
        sample = note.sample if note and note.sample else self.default_sample(name, page)
        other = next((n.names[0] for n in self.notes[page.stem].notes if f"cermet.{name}(" in n.sample), None)
        if sample:
            blocks.append(f"**Sample**\n\n{sample}")
        elif other and other != self.library.forward(name):
            blocks.append(f"**Sample**: that of {prose.linked(other)}.")
        blocks += self.option_table(name, prose)
        bases = [b for b in self.surface.classes[name].bases if b in self.library.page_of and self.options(b)]
        blocks.append(f"And the options of {prose.linked(bases[0])}." if bases else "")
        calls = self.calls(name, prose)
        if calls:
            title = "To define in a class of yours" if self.surface.classes[name].subclassable else "Calls"
            blocks.append(f"**{title}**\n\n" + "\n".join(calls))
        blocks += self.facts(name, prose, page)
        return [b for b in blocks if b]

    def groups(self, page):
        """The notes about neighbours that stand in one table."""
        return [note for note in self.notes[page.stem].notes if len(note.names) == 2]

    def neighbours(self, page, note):
        first, last = (page.classes.index(name) for name in note.names)
        return page.classes[first : last + 1]

    def heading_of(self, page, note):
        return f"{note.names[0]} to {note.names[-1]}"

    def together(self, page, note, shown):
        """Neighbours that differ in a line: one table."""
        names = self.neighbours(page, note)
        prose = self.prose(page.stem, set(names))
        blocks = [f"## {self.heading_of(page, note)}", note.text]
        for name in names:
            blocks += self.formulas(name, shown)
        rows = []
        for name in names:
            made = self.makers(name)[0]
            doc = self.model.classes[name].doc
            line = self.model.classes[name].place.rpartition(":")[2]
            place = f"[{line}]({UP}{self.model.classes[name].place.rpartition(':')[0]}#L{line})"
            calls = [f"`{made[0].removeprefix(name)}`", f"`{made[1].removeprefix('cermet.' + name)}`"]
            rows.append([f"`{name}`", prose.line(doc or self.summary(name)), *calls, place])
        blocks.append(table(["class", "computes", "C++", "Python", "line"], rows))
        found = self.library.files(names, page)
        base = prose.linked(self.surface.classes[names[0]].bases[0])
        facts = [f"**Originals**: `MPS` and the name. Each is a {base}, which has the options."]
        facts += ["**Files**: " + ", ".join(f"[{what}]({UP}{path})" for what, path in found)] if found else []
        blocks += facts
        blocks.append("**Sample**\n\n" + note.sample if note.sample else "")
        return [b for b in blocks if b]

    def enum(self, name, prose):
        enum = self.surface.enums[name]
        comments = self.headers[enum.header].cases(int(enum.place.rpartition(":")[2]))
        blocks = [f"## {name}", self.source(enum.place), prose.paragraphs(enum.doc)]
        comments = {c: words.without_places(t) for c, t in comments.items()}
        cases = {case: doc or comments.get(case, "") for case, _, doc in enum.cases}
        if any(cases.values()):
            rows = [[f"`{c}`", str(v), prose.line(cases[c])] for c, v, _ in enum.cases]
            blocks.append(table(["case", "value", "meaning"], rows))
        else:
            blocks.append(", ".join(f"`{c}` {v}" for c, v, _ in enum.cases))
        return [b for b in blocks if b]

    def setup(self, notes):
        files = [self.folder / "notes" / f"{name}.py" for name in ["setup"] + [f"setup_{part}" for part in notes.setup]]
        code = "\n\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)
        return f"<details><summary>Before the samples of this page</summary>\n\n{fenced('python', code)}\n\n</details>"

    def default_sample(self, name, page):
        """A sample for a kernel, with its gradient if there is one, that needs no more than a device."""
        code = "\n".join(n.sample for n in self.notes[page.stem].notes)
        gradient = f"{name}Gradient" if f"{name}Gradient" in page.classes else None
        if not self.library.is_concrete(name) or re.search(rf"cermet\.{name}\(", code):
            return ""
        needed = [a for _, a, default in self.arguments(self.library.inits(name)[0]) if not default and a != "device"]
        if needed or self.library.encode_of(name) != ENCODES["CNNKernel"]:
            return ""
        word = snake(re.sub(r"^(?:CNN|NN)", "", name))
        lines = [f"{word} = keep(cermet.{name}(device))", "source = images(2, 6, 6, 4)"]
        if gradient is None:
            lines += [f"result = run(lambda commands: {word}.encode_batch(commands, source))", "print(result.numpy().shape)"]
        else:
            lines += [
                f"gradient = keep(cermet.{gradient}(device))",
                *("", "", "def forward_and_back(commands):"),
                f"    result, states = {word}.encode_batch(commands, source, False)",
                "    return gradient.encode_batch(commands, result, source, states)  # the result as incoming gradient",
                *("", "", "print(run(forward_and_back).numpy().shape)"),
            ]
        return fenced("python", "\n".join(lines))

    def page(self, page):
        notes = self.notes[page.stem]
        prose = self.prose(page.stem)
        comment = self.headers[page.header].comment()
        title = notes.title or page.stem.replace("_", " ").capitalize()
        said = prose.paragraphs(comment)
        blocks = [f"# {title}", said if said.rstrip(".").lower() != title.lower() else ""]
        places = words.specification(comment)
        where = f"`#include <{page.header}>`" + (f" · specification: {'; '.join(places)}" if places else "")
        blocks += [where + " · [what all kernels share](common.md) · [all kernels](README.md)", notes.intro]
        blocks.append(table(["class", "in a sentence"], self.contents(page)))
        blocks.append("")
        shown, done, body = set(), set(), []
        for name in page.classes:
            if name in done:
                continue
            group = next((note for note in self.groups(page) if name in self.neighbours(page, note)), None)
            if group:
                group.used = True
                done |= set(self.neighbours(page, group))
                body += self.together(page, group, shown)
                continue
            done.add(name)
            forward = self.library.forward(name)
            body += self.section(name, page, 3 if forward in page.classes else 2, shown)
        rest = [s for s in self.library.operators[page.header] if s not in shown and self.model.classes[s].doc]
        if rest:
            body.append("## Operators\n\nWhat the backends compute for the classes of this page, beyond the formulas above.")
            for struct in rest:
                doc = words.without_places(self.model.classes[struct].doc)
                body.append(f"`{struct}` ({self.source(self.model.classes[struct].place)})\n\n" + fenced("text", doc))
        for name in page.enums:
            body += self.enum(name, prose)
        text = "\n\n".join(body)
        if "```python" in text:
            blocks.append(self.setup(notes))
        self.check(page, text)
        return HEAD + "\n" + "\n\n".join(b for b in blocks + body if b) + "\n"

    def contents(self, page):
        rows, prose = [], self.prose(page.stem, set(page.classes))
        groups = {n: note for note in self.groups(page) for n in self.neighbours(page, note)}
        for name in page.classes:
            address = self.address(name).removeprefix(f"{page.stem}.md")
            if name in groups:
                if name == groups[name].names[0]:
                    heading = self.heading_of(page, groups[name])
                    rows.append([f"[{heading}]({address})", groups[name].text.partition("\n\n")[0]])
                continue
            rows.append([f"[{name}]({address})", prose.line(shortened(self.summary(name)))])
        return rows

    def check(self, page, text):
        """Every kernel is made by a sample of its page, and every note was used."""
        code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
        missing = [n for n in page.classes if self.library.is_concrete(n) and not re.search(rf"cermet\.{n}\b", code)]
        note = f"docs/kernels/notes/{page.stem}.md"
        unused = [" ... ".join(n.names) for n in self.notes[page.stem].notes if not n.used]
        if unused:
            raise Incomplete(f"{note} is about {', '.join(unused)}, which {page.header} does not declare")
        if missing:
            raise Incomplete(f"{note} needs a '### sample' that makes {', '.join(missing)}")

    # -- what all share ------------------------------------------------------------------------------

    def common_classes(self):
        if not hasattr(self, "shared"):
            self.shared = []
            for header in COMMON:
                for name, one in self.model.classes.items():
                    bound = self.surface.classes.get(name)
                    shape = one.template is not None and "\n\n" in one.doc  # says where things lie
                    if one.header == header and "::" not in name and (shape or (bound and not bound.aggregate)):
                        self.shared.append(name)
        return self.shared

    def common(self):
        notes = read_notes(self.folder / "notes" / "common.md")
        prose = self.prose("common")
        blocks = [f"# {notes.title}", notes.intro]
        for note in notes.notes:
            blocks += [f"## {' '.join(note.names)}", note.text, note.sample]
        for name in self.common_classes():
            one = self.model.classes[name]
            if one.template is not None:
                blocks += [f"## {name}", self.source(one.place), prose.paragraphs(one.doc)]
                continue
            blocks += [f"## {name}", self.origin(name), prose.paragraphs(one.doc)]
            blocks += self.made(name, prose) if name == "NNDefaultPadding" or name.startswith("CNNNormalization") else []
            blocks += self.option_table(name, prose)
            calls = [c for c in self.calls(name, prose) if "<br>" in c and not c.startswith("- `encode")]  # told above
            blocks.append("**Calls**\n\n" + "\n".join(calls) if calls else "")
        for name, enum in self.surface.enums.items():
            if enum.header in COMMON and "::" not in name:
                blocks += self.enum(name, prose)
        return HEAD + "\n" + "\n\n".join(b for b in blocks if b) + "\n"

    def index(self):
        """README.md: every kernel class, by family."""
        notes = read_notes(self.folder / "notes" / "README.md")
        families, placed = [], set()
        for note in notes.notes:
            stems = note.text.split()
            families.append((" ".join(note.names), [stem for stem in stems if stem in self.notes]))
            placed |= set(stems)
        pages = {page.stem: page for page in self.library.pages}
        families.append(("More", [stem for stem in pages if stem not in placed]))
        blocks = [f"# {notes.title}", notes.intro]
        blocks.append(" · ".join(f"[{title}](#{anchor(title)})" for title, stems in families if stems))
        for title, stems in families:
            if not stems:
                continue
            blocks.append(f"## {title}")
            rows = []
            for stem in stems:
                prose = Prose(lambda name: None)
                names = [n for n in pages[stem].classes if self.library.is_concrete(n)]
                names = names or [n for n in pages[stem].classes if not self.library.is_kernel(n)]  # of recurrent layers
                rows += [[f"[{n}]({self.address(n)})", prose.line(shortened(self.summary(n)))] for n in names]
            blocks.append(table(["class", "in a sentence"], rows))
        return HEAD + "\n" + "\n\n".join(b for b in blocks if b) + "\n"

    def files(self):
        """Every page by its name below docs/kernels."""
        found = {f"{page.stem}.md": self.page(page) for page in self.library.pages}
        found["common.md"] = self.common()
        found["README.md"] = self.index()
        unused = sorted(set(self.meanings) - self.used_meanings)
        if unused:
            raise Incomplete(f"docs/kernels/notes/words.md: {', '.join(unused)} tells of no option without a comment")
        return found
