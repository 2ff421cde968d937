"""Which classes stand on which page, and what belongs to a class: its operators, files and states."""

import pathlib
import re
from dataclasses import dataclass, field

from headers import Headers
from names import snake

FOLDERS = {"cnn": "", "matrix": "matrix_", "rnn": "rnn_"}
# Headers of what kernels share, on the page common.md, in its order.
COMMON = (
    "cermet/core/kernel.h",
    "cermet/cnn/kernel.h",
    "cermet/cnn/multiary_kernel.h",
    "cermet/cnn/kernel_shapes.h",
    "cermet/matrix/kernel.h",
    "cermet/cnn/padding.h",
    "cermet/cnn/channel_arrays.h",
)
# How a class is encoded: the nearest of these bases says it (headings of common.md).
ENCODES = {
    "CNNGradientKernel": ("a gradient kernel", "gradients"),
    "CNNBinaryKernel": ("two sources", "two-sources"),
    "CNNMultiaryKernel": ("any number of sources", "any-number-of-sources"),
    "CNNKernel": ("one source", "one-source"),
    "MatrixKernel": ("matrices", "matrices"),
}


@dataclass
class Page:
    stem: str
    header: str
    classes: list = field(default_factory=list)  # names, in their order on the page
    enums: list = field(default_factory=list)


class Library:
    """The model with the questions that pages ask."""

    def __init__(self, root, model, surface):
        self.root = pathlib.Path(root)
        self.model, self.surface = model, surface
        self.headers = Headers(self.root / "include")
        self.sources = {}
        self.pages = self.make_pages()
        self.page_of = {name: page for page in self.pages for name in page.classes + page.enums}
        self.operators = {page.header: self.headers.operators(page.header) for page in self.pages}
        self.structs = {s: h for h, found in self.operators.items() for s in found}

    def make_pages(self):
        pages = {}
        for name, one in self.surface.classes.items():
            folder = one.cpp.header.split("/")[1]
            if folder in FOLDERS and one.cpp.header not in COMMON and "::" not in name:
                stem = FOLDERS[folder] + pathlib.Path(one.cpp.header).stem
                pages.setdefault(one.cpp.header, Page(stem, one.cpp.header)).classes.append(name)
        for page in pages.values():
            line = lambda name: int(self.model.classes[name].place.rpartition(":")[2])  # noqa: E731
            page.classes.sort(key=line)
            for name in list(page.classes):  # a gradient behind its forward class
                forward = self.forward(name)
                if forward in page.classes:
                    page.classes.remove(name)
                    page.classes.insert(page.classes.index(forward) + 1, name)
            # What is called comes first, then what it is derived from, then what it takes and leaves.
            page.classes.sort(key=lambda name: (not self.is_concrete(name), not self.is_kernel(name)))
            for name, enum in self.surface.enums.items():
                if enum.header == page.header and "::" not in name and enum.cases[0][0][0].isupper():
                    page.enums.append(name)
        return sorted(pages.values(), key=lambda page: page.stem)

    # -- classes -------------------------------------------------------------------------------------

    def lineage(self, name):
        return [one.name for one in self.surface.lineage(self.model.classes[name])]

    def is_kernel(self, name):
        return "Kernel" in self.lineage(name)

    def is_concrete(self, name):
        one = self.surface.classes[name]
        return self.is_kernel(name) and not one.abstract and bool(self.inits(name))

    def inits(self, name):
        """Initialisers but for that of archives, which all kernels have."""
        return [o for o in self.surface.classes[name].inits if not o.shown() or o.shown()[0].name != "coder"]

    def is_gradient(self, name):
        return "CNNGradientKernel" in self.lineage(name) or name.endswith("Gradient")

    def forward(self, name):
        """The class whose gradient this is, or None."""
        forward = name.removesuffix("Gradient")
        return forward if forward != name and forward in self.surface.classes else None

    def encode_of(self, name):
        return next((ENCODES[base] for base in self.lineage(name) if base in ENCODES), None)

    def templates(self, name):
        """The class templates of ours that a class is over, nearest first, with their arguments."""
        found, queue = [], list(self.model.classes[name].declared)
        while queue:
            base = queue.pop(0)
            known = self.model.classes.get(base.name) or self.model.classes.get("detail::" + base.name)
            if known is None:
                continue
            if known.template is not None:
                found.append((known, base))
            queue += known.declared
        return found

    def shared_remarks(self, name):
        """What the bases that no program sees say of all their classes, without whose they are."""
        header = self.model.classes[name].header
        hidden = [one for one in self.surface.lineage(self.model.classes[name])[1:] if one.name.startswith("detail::")]
        hidden += [template for template, _ in self.templates(name)]
        found = []
        for one in hidden:
            match = re.match(r"What [^:]*\b(?:share|in common): (.*)", one.doc, re.S)
            if match and one.header == header:
                found.append(match[1][0].upper() + match[1][1:])
        return list(dict.fromkeys(found))

    def operators_of(self, name):
        """The operators that a class computes with: those it is named in, else those it names."""
        header = self.model.classes[name].header
        here = self.operators.get(header, {})
        named = [s for s, o in here.items() if o.name.split(".")[0] == name]
        if not named:
            named = [a.name for _, base in self.templates(name) for a in base.args if a.name in here]
        return list(dict.fromkeys(named))

    def bodies(self, name):
        """The text of the functions of a class that stand in its source file."""
        header = pathlib.PurePath(self.model.classes[name].header)
        path = self.root / "src" / header.parent.name / f"{header.stem}.cpp"
        if path not in self.sources:
            self.sources[path] = path.read_text(encoding="utf-8") if path.exists() else ""
        return "\n".join(re.findall(rf"^[^\n]*\b{name}::.*?^\}}", self.sources[path], re.M | re.S))

    def computes_with(self, name):
        """The operators of a class and, where it has none of its own, those that its functions name."""
        found = self.operators_of(name)
        header = self.model.classes[name].header
        for one in self.model.bases_of(name) if not found else []:
            if one.header == header and not found:
                text = self.bodies(one.name) + self.headers[header].body(int(one.place.rpartition(":")[2]))
                found = [word for word in dict.fromkeys(re.findall(r"\b[A-Z]\w+\b", text)) if word in self.structs]
        return found

    def ranges_of(self, name):
        """Ranges of the fields of its operators, and of those that these contain."""
        found = {}
        here = self.operators.get(self.model.classes[name].header, {})
        for struct in self.operators_of(name):
            inside = [f.type.name for f in self.model.classes[struct].fields if f.type.name in here]
            for one in [struct] + inside:
                found = {**here[one].ranges, **found}
        return found

    # -- states and files ----------------------------------------------------------------------------

    def state_of(self, name):
        """(class of the state that an encode leaves, whether one serves the batch), or None."""
        for base in self.surface.lineage(self.model.classes[name]):
            if base.name in ENCODES:
                return None
            if any(f.name in ("make_state", "make_state_batch") for f in base.functions):
                break
        else:
            return None
        return self.state_for(name), self.shares_state(name)

    def state_for(self, name):
        owners = [n for n in self.lineage(name) if n not in ENCODES]
        for state in self.model.classes.values():
            if "State" not in [c.name for c in self.model.bases_of(state.name)]:
                continue
            for function in state.constructors:
                if any(p.type.name in owners for p in function.parameters):
                    return state.name
        return "NNGradientState"

    def shares_state(self, name):
        lineage = [c for c in self.surface.lineage(self.model.classes[name]) if c.name not in ENCODES]
        return any(f.name == "isResultStateReusedAcrossBatch" for c in lineage for f in c.functions)

    def files(self, names, page):
        """(what, path) of the files of these classes: backends and rows, where they exist."""
        folder, stems = page.header.split("/")[1], []
        for name in names:
            operators = [(self.structs[o], o) for o in self.computes_with(name)]
            words = [name, *(self.operators[h][o].name.split(".")[0] for h, o in operators), *(o for _, o in operators)]
            words += [base for base in self.lineage(name)[1:] if base not in ENCODES and base != "Kernel"]
            stems += [snake(re.sub(r"^(?:CNN|NN|RNN)", "", word.removesuffix("Gradient"))) for word in words]
            stems += [page.stem] + [pathlib.PurePath(h).stem for h, _ in operators]
        found = []
        for what, pattern in (("class", f"src/{folder}/{{}}.cpp"), ("CPU", "src/cpu/{}.cpp"), ("CUDA", "src/cuda/{}.cu"),
                              ("test rows", "tests/cases/{}_test.cpp")):
            tried = [pathlib.PurePath(page.header).stem, *stems] if what == "class" else stems
            path = next((pattern.format(s) for s in dict.fromkeys(tried) if (self.root / pattern.format(s)).exists()), None)
            if path is None and what == "test rows":
                path = self.test_that_names(names[0])
            if path:
                found.append((what, path))
        return found

    def test_that_names(self, name):
        for path in sorted((self.root / "tests" / "cases").glob("*_test.cpp")):
            if path not in self.sources:
                self.sources[path] = path.read_text(encoding="utf-8")
            if re.search(rf"\b{name}\b", self.sources[path]):
                return str(path.relative_to(self.root))
        return None
