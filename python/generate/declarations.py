"""The public headers as a plain model: classes, functions, enums, constants and their comments.

Read with libclang. The model knows nothing of Python or pybind11; whatever documents or counts the
public interface can use it, too.
"""

import dataclasses
import itertools
import pathlib
import re
from dataclasses import dataclass, field

import clang.cindex as clang

from cpp_types import Type, parse
from names import doc_text

Kind = clang.CursorKind
Access = clang.AccessSpecifier
MARK = re.compile(r"^\s*//(?!/)\s*(?:What follows is for|For) (?:kernels|states|graphs)\b")
NAME_COMMENT = re.compile(r"^/\*\s*(\w+)\s*\*/$")  # of a parameter that a body does not use
FUNCTIONS = (Kind.CXX_METHOD, Kind.FUNCTION_TEMPLATE, Kind.CONSTRUCTOR, Kind.DESTRUCTOR, Kind.CONVERSION_FUNCTION)
CLASSES = (Kind.CLASS_DECL, Kind.STRUCT_DECL, Kind.CLASS_TEMPLATE)


@dataclass
class Parameter:
    name: str
    type: Type
    default: str = None


@dataclass
class Function:
    name: str
    parameters: list
    result: Type
    doc: str
    place: str  # file:line
    access: str = "public"
    static: bool = False
    const: bool = False
    virtual: bool = False
    pure: bool = False
    deleted: bool = False
    internal: bool = False  # behind a mark such as `// For kernels.`
    template: list = field(default_factory=list)  # names of its type parameters
    variadic: bool = False
    of_template: bool = False  # a constructor from a class template, which may ask more of its arguments


@dataclass
class Field:
    name: str
    type: Type
    doc: str
    access: str = "public"
    internal: bool = False
    constant: bool = False  # static constexpr


@dataclass
class Class:
    name: str  # without the namespace; `Image::Strides` for a nested one
    header: str
    place: str
    doc: str
    bases: list = field(default_factory=list)  # Types
    declared: list = field(default_factory=list)  # the same before `flatten`: class templates among them
    functions: list = field(default_factory=list)
    constructors: list = field(default_factory=list)
    fields: list = field(default_factory=list)
    reveals: list = field(default_factory=list)  # (name, access) of `using Base::name`
    aliases: dict = field(default_factory=dict)  # of types, in this class
    final: bool = False
    template: list = None  # names of the parameters of a class template
    internal: bool = False
    protected_destructor: bool = False
    move_only: bool = False


@dataclass
class Enum:
    name: str
    header: str
    place: str
    doc: str
    underlying: str
    cases: list = field(default_factory=list)  # (name, value, doc)


@dataclass
class Constant:
    name: str
    header: str
    place: str
    doc: str


@dataclass
class Model:
    classes: dict = field(default_factory=dict)
    enums: dict = field(default_factory=dict)
    functions: list = field(default_factory=list)  # (header, Function)
    constants: list = field(default_factory=list)
    aliases: dict = field(default_factory=dict)  # name -> Type

    def bases_of(self, name):
        """The class and all that it is derived from, nearest first."""
        found, queue = [], [name]
        while queue:
            one = self.classes.get(queue.pop(0))
            if one and one not in found:
                found.append(one)
                queue += [base.name for base in one.bases]
        return found

    def resolve(self, type_, scope=""):
        """The type with aliases replaced and nested names spelled in full."""
        name, target = type_.name, self.aliases.get(type_.name)
        for owner in self.bases_of(scope) if scope else []:
            if name in owner.aliases:
                target = owner.aliases[name]
            if f"{owner.name}::{name}" in self.classes:
                name = f"{owner.name}::{name}"
        if target is None and "::" in name:
            owner, _, last = name.rpartition("::")
            target = self.classes[owner].aliases.get(last) if owner in self.classes else None
            scope = owner
        if target is not None:
            resolved = self.resolve(target, scope)
            return dataclasses.replace(
                resolved,
                const=resolved.const or type_.const,
                pointer=resolved.pointer or type_.pointer,
                reference=type_.reference or resolved.reference,
            )
        parameters = None if type_.parameters is None else [self.resolve(p, scope) for p in type_.parameters]
        return dataclasses.replace(
            type_, name=name, args=[self.resolve(a, scope) for a in type_.args], parameters=parameters
        )


def text_of(cursor):
    return [token.spelling for token in cursor.get_tokens()]


def default_of(tokens):
    """What stands behind the `=` of a parameter."""
    depth = 0
    for i, token in enumerate(tokens):
        depth += token.count("(") + token.count("{") + token.count("<")
        depth -= token.count(")") + token.count("}") + token.count(">")
        if token == "=" and depth == 0:
            return "".join(tokens[i + 1 :])
    return None


class Reader:
    def __init__(self, include):
        self.include = pathlib.Path(include)
        self.model = Model()
        self.marks = {}

    def run(self, headers):
        source = "".join(f'#include "{header}"\n' for header in headers)
        unit = clang.Index.create().parse(
            "all.cpp", args=["-xc++", "-std=c++20", f"-I{self.include}"], unsaved_files=[("all.cpp", source)]
        )
        errors = [d for d in unit.diagnostics if d.severity >= clang.Diagnostic.Error]
        if errors:
            raise RuntimeError("the headers do not compile:\n" + "\n".join(map(str, errors)))
        self.headers = set(headers)
        self.namespace(unit.cursor, "")
        return self.model

    def header_of(self, cursor):
        file = cursor.location.file
        if file is None:
            return None
        try:
            name = str(pathlib.Path(file.name).relative_to(self.include))
        except ValueError:
            return None
        return name if name in self.headers else None

    def place(self, cursor):
        return f"include/{self.header_of(cursor)}:{cursor.location.line}"

    def namespace(self, cursor, path):
        for child in cursor.get_children():
            if child.kind == Kind.NAMESPACE:
                if path == "" and child.spelling == "cermet":
                    self.namespace(child, "cermet")
                elif path == "cermet" and child.spelling == "detail":
                    self.namespace(child, "detail")
                continue
            header = self.header_of(child) if path else None
            if header is None:
                continue
            prefix = "detail::" if path == "detail" else ""
            if child.kind in CLASSES and child.is_definition():
                self.class_(child, prefix, header)
            elif path == "detail":
                continue
            elif child.kind == Kind.ENUM_DECL:
                self.enum(child, "", header)
            elif child.kind in (Kind.FUNCTION_DECL, Kind.FUNCTION_TEMPLATE):
                self.model.functions.append((header, self.function(child)))
            elif child.kind in (Kind.TYPE_ALIAS_DECL, Kind.TYPEDEF_DECL):
                self.model.aliases[child.spelling] = parse(child.underlying_typedef_type.spelling)
            elif child.kind == Kind.VAR_DECL:
                self.model.constants.append(
                    Constant(child.spelling, header, self.place(child), doc_text(child.raw_comment))
                )

    def enum(self, cursor, prefix, header):
        new = Enum(
            prefix + cursor.spelling, header, self.place(cursor), doc_text(cursor.raw_comment), cursor.enum_type.spelling
        )
        for case in cursor.get_children():
            if case.kind == Kind.ENUM_CONSTANT_DECL:
                new.cases.append((case.spelling, case.enum_value, doc_text(case.raw_comment)))
        self.model.enums[new.name] = new

    def internal_lines(self, cursor):
        """Lines of a class from a mark to the next access specifier."""
        lines, header = set(), self.header_of(cursor)
        if header not in self.marks:
            self.marks[header] = (self.include / header).read_text(encoding="utf-8").splitlines()
        inside = False
        for number in range(cursor.extent.start.line, cursor.extent.end.line + 1):
            line = self.marks[header][number - 1]
            inside = bool(MARK.match(line)) or (inside and not re.match(r"^ (public|protected|private):", line))
            if inside:
                lines.add(number)
        return lines

    def class_(self, cursor, prefix, header, internal=False):
        new = Class(prefix + cursor.spelling, header, self.place(cursor), doc_text(cursor.raw_comment))
        new.internal = internal
        if cursor.kind == Kind.CLASS_TEMPLATE:
            kinds = (Kind.TEMPLATE_TYPE_PARAMETER, Kind.TEMPLATE_NON_TYPE_PARAMETER, Kind.TEMPLATE_TEMPLATE_PARAMETER)
            new.template = [c.spelling for c in cursor.get_children() if c.kind in kinds]
        marked = self.internal_lines(cursor)
        for child in cursor.get_children():
            access = child.access_specifier.name.lower()
            hidden = internal or child.location.line in marked
            if child.kind == Kind.CXX_BASE_SPECIFIER and access == "public":
                new.bases.append(parse(child.type.spelling))
            elif child.kind == Kind.CXX_FINAL_ATTR:
                new.final = True
            elif child.kind in FUNCTIONS:
                self.member(new, child, access, hidden)
            elif child.kind in (Kind.FIELD_DECL, Kind.VAR_DECL) and access == "public":
                constant = child.kind == Kind.VAR_DECL
                type_ = parse(re.sub(r"\[.*", "", child.type.spelling))
                doc = doc_text(child.raw_comment)
                new.fields.append(Field(child.spelling, type_, doc, access, hidden, constant))
            elif child.kind == Kind.USING_DECLARATION:
                words = [t for t in text_of(child) if re.match(r"\w", t)]
                if words:
                    new.reveals.append((words[-1], access))
            elif child.kind in (Kind.TYPE_ALIAS_DECL, Kind.TYPEDEF_DECL):
                new.aliases[child.spelling] = parse(child.underlying_typedef_type.spelling)
            elif access == "public" and child.kind in CLASSES and child.is_definition():
                self.class_(child, new.name + "::", header, hidden)
            elif access == "public" and child.kind == Kind.ENUM_DECL and not hidden:
                self.enum(child, new.name + "::", header)
        self.model.classes[new.name] = new

    def member(self, owner, cursor, access, hidden):
        function = self.function(cursor, owner.name)
        function.access, function.internal = access, hidden
        if cursor.kind == Kind.DESTRUCTOR:
            owner.protected_destructor = access != "public"
        elif cursor.kind == Kind.CONSTRUCTOR or (
            cursor.kind == Kind.FUNCTION_TEMPLATE and cursor.spelling.split("<")[0] == owner.name.split("::")[-1]
        ):
            if cursor.is_copy_constructor() and function.deleted:
                owner.move_only = True
            elif not cursor.is_copy_constructor() and not cursor.is_move_constructor():
                owner.constructors.append(function)
        else:
            owner.functions.append(function)

    def function(self, cursor, scope=""):
        tokens = text_of(cursor)
        function = Function(
            cursor.spelling.split("<")[0] if cursor.kind == Kind.CONSTRUCTOR else cursor.spelling,
            [],
            parse(cursor.result_type.spelling) if cursor.result_type.spelling else Type("void"),
            doc_text(cursor.raw_comment),
            self.place(cursor),
            static=cursor.is_static_method(),
            const=cursor.is_const_method(),
            # Of a template's member libclang does not know it: what it overrides depends on an argument.
            virtual=cursor.is_virtual_method() or "override" in itertools.takewhile(lambda t: t not in ("{", ";"), tokens),
            pure=cursor.is_pure_virtual_method(),
            deleted=tokens[-2:] == ["=", "delete"],
        )
        for child in cursor.get_children():
            if child.kind == Kind.TEMPLATE_TYPE_PARAMETER:
                function.template.append(child.spelling)
            elif child.kind == Kind.PARM_DECL:
                words = text_of(child)
                function.variadic = function.variadic or "..." in words
                spelled = child.type.spelling.replace("...", "")
                function.parameters.append(Parameter(child.spelling, parse(spelled), default_of(words)))
        unnamed = [p for p in function.parameters if not p.name]
        comments = [match[1] for match in map(NAME_COMMENT.match, tokens) if match]
        if len(comments) == len(unnamed):
            for parameter, name in zip(unnamed, comments):
                parameter.name = name
        return function


def read_headers(include):
    """The model of every header under `include`/cermet."""
    root = pathlib.Path(include).resolve()
    headers = sorted(str(path.relative_to(root)) for path in (root / "cermet").rglob("*.h"))
    model = Reader(root).run(headers)
    for one in model.classes.values():
        one.declared = list(one.bases)
    for one in model.classes.values():
        if one.template is None:
            flatten(model, one)
    return model


def substituted(type_, values):
    """The type with template parameters replaced."""
    other = values.get(type_.name)
    parts = None if type_.parameters is None else [substituted(p, values) for p in type_.parameters]
    args = [substituted(a, values) for a in type_.args]
    if other is None:
        return dataclasses.replace(type_, args=args, parameters=parts)
    return dataclasses.replace(
        other,
        const=type_.const or other.const,
        pointer=type_.pointer or other.pointer,
        reference=type_.reference or other.reference,
    )


def flatten(model, one):
    """Gives a class what it inherits from class templates, whose own bases become its bases: nobody
    who writes against the class needs to know of them."""
    own = {f.name for f in one.functions}

    def reveals(derived, base):
        """Whether it has `using Base::Base`, by the base's name or an alias of it."""
        names = {base.name.split("::")[-1]}
        names |= {alias for alias, target in derived.aliases.items() if target.name == base.name}
        return any(name in names and access == "public" for name, access in derived.reveals)

    def instance(function, values):
        parameters = [dataclasses.replace(p, type=substituted(p.type, values)) for p in function.parameters]
        return dataclasses.replace(function, parameters=parameters, result=substituted(function.result, values))

    def bases_of(base, constructors):
        template = model.classes.get(base.name)
        if template is None or template.template is None:
            return [base]
        values = dict(zip(template.template, base.args))
        for function in template.functions:
            if function.name not in own:
                one.functions.append(instance(function, values))
        own.update(f.name for f in template.functions)
        if constructors:
            made = [instance(f, values) for f in template.constructors]
            one.constructors += [dataclasses.replace(f, name=one.name, of_template=True) for f in made]
        found = []
        for deeper in template.bases:
            shown = constructors and reveals(template, deeper)
            found += bases_of(substituted(deeper, values), shown)
        return found

    one.bases = [found for base in one.bases for found in bases_of(base, reveals(one, base))]
