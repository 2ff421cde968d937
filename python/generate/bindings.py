"""From what Python shall have to pybind11: one C++ file for each header, and one that calls them."""

from names import snake, spelled
from members import python_name
from trampolines import trampoline, trampoline_name

UNLOCKED = "Unlocked()"


def literal(text):
    """A C++ string literal of a documentation text."""
    return f'R"doc({text})doc"'


def stem(header):
    return header.removeprefix("cermet/").removesuffix(".h").replace("/", "_")


def identifier(name):
    return name.replace("::", "_")


class Writer:
    def __init__(self, surface):
        self.surface = surface

    # -- pieces --------------------------------------------------------------------------------------

    def is_handle(self, name):
        """Whether an empty one stands for None: it can be made of nothing and has `explicit operator bool`."""
        one = self.surface.model.classes.get(name)
        if one is None or one.protected_destructor or all(f.parameters for f in one.constructors):
            return False
        return any(f.name == "operator bool" for c in self.surface.lineage(one) for f in c.functions)

    def default(self, argument):
        """`py::arg` with the default of C++."""
        name, text, type_ = argument.name, argument.parameter.default, argument.type.value()
        if text is None:
            return f'py::arg("{name}")' + (".none(false)" if argument.role == "object" else "")
        if type_.name in ("std::span", "std::vector", "ImageBatch", "StateBatch"):
            return f'py::arg_v("{name}", py::tuple(), "()")'
        nothing = text in ("nullptr", "{}") and type_.name in ("std::shared_ptr", "std::optional", "std::function")
        if type_.pointer or nothing or (text == "{}" and self.is_handle(type_.name)):
            return f'py::arg_v("{name}", py::none(), "None")'
        if type_.name in self.surface.classes:
            shown = python_name(type_.name) + "(" + text.strip("{}").replace(",", ", ") + ")"
            return f'py::arg_v("{name}", {type_}{text if text[0] == "{" else "(" + text + ")"}, "{shown}")'
        if type_.name in self.surface.enums:
            shown = python_name(type_.name) + "." + text.split("::")[-1]
            return f'py::arg_v("{name}", {type_}({text}), "{shown}")'
        return f'py::arg("{name}") = {type_}({text})' if text != "{}" else f'py::arg("{name}") = {type_}()'

    def extras(self, overload, guard=True):
        """What follows the function in a `def`."""
        parts = [self.default(a) for a in overload.shown()]
        if overload.flag():
            parts += ["py::kw_only()", 'py::arg("outputs")']
        parts += [UNLOCKED] if guard else []
        parts += [literal(overload.doc)] if overload.doc else []
        return "".join(", " + part for part in parts)

    @staticmethod
    def cpp_name(argument):
        return argument.parameter.name or argument.name

    def parameters(self, overload):
        types = {"floats": "Floats", "list": "const py::list&"}
        shared = lambda a: f"const std::shared_ptr<{a.type.name}>&"  # noqa: E731
        named = lambda a: shared(a) if a.role == "object" else types.get(a.role, str(a.type))  # noqa: E731
        parts = [named(a) + " " + self.cpp_name(a) for a in overload.shown()]
        return parts + (["bool"] if overload.flag() else [])

    def call_arguments(self, overload):
        """(declarations before the call, arguments of the call)."""
        before, parts = [], []
        for a in overload.arguments:
            name = self.cpp_name(a)
            if a.role == "floats" and a.count == "count":
                parts += [f"{name}.data()", f"{name}.size()"]
            elif a.role == "floats":
                parts.append(f'{name}.data({a.count}, "{overload.function.name}", "{a.name}")')
            elif a.role == "list":
                before.append(f"{a.type.pointee()} made_{name}{{}};")
                parts.append("&made_" + name)
            elif a.role == "out":
                before.append(f"{a.type.pointee()} {name}{{}};")
                parts.append("&" + name)
            elif a.role == "items":
                parts.append(f"{name}.data()")
            elif a.role == "object":
                parts.append(f"*{name}")
            elif a.role == "items_count":
                parts.append(f"{a.count}.size()")
            elif a.role == "in":
                parts.append(name)
        return before, ", ".join(parts)

    def body(self, overload, callee):
        """The statements that call and return; `callee` is what stands before the parenthesis."""
        before, arguments = self.call_arguments(overload)
        call, result = f"{callee}({arguments})", overload.result
        outs = [self.cpp_name(a) for a in overload.outs()]
        nothing = str(result) == "void"
        if outs:
            moved = ", ".join(f"std::move({name})" for name in outs)
            if nothing:
                return " ".join(before) + f" {call}; return std::make_tuple({moved});"
            return " ".join(before) + f" auto result = {call}; return std::make_tuple(std::move(result), {moved});"
        if nothing:
            return f"{call};"
        if result.name == "std::unique_ptr":
            return f"return std::shared_ptr<{result.args[0]}>({call});"
        if result.name == "std::vector" and overload.count:
            return f"const auto* first = {call}; return {result}(first, first + {overload.count});"
        if result.pointer and overload.count:
            type_ = ", self.dataType()" if result.name == "void" else ""
            return f"return array_of({call}, {overload.count}{type_});"
        if result.pointer and self.is_kernel(result.name):
            return f"return live({call});"
        return f"return {call};"

    def is_kernel(self, name):
        return any(c.name == "Kernel" for c in self.surface.lineage(self.surface.model.classes[name]))

    def guarded(self, overload):
        """Whether other Python threads may run meanwhile: not while Python objects are made."""
        result = overload.result
        return not (result.pointer and (overload.count or self.is_kernel(result.name)))

    def policy(self, overload):
        return ", py::return_value_policy::reference" if overload.result.pointer and self.guarded(overload) else ""

    # -- members -------------------------------------------------------------------------------------

    def method(self, c, overload):
        """A lambda for a method."""
        function, name = overload.function, c.cpp.name
        self_type = f"const {name}&" if function.const else f"{name}&"
        parameters = ", ".join([f"{self_type} self"] + self.parameters(overload))
        body = self.body(overload, f"self.{function.name}")
        hook = next((h for h in c.hooks if h.function.name == function.name and self.same(h, overload)), None)
        if hook is not None and function.virtual:
            if hook.function.pure:
                own = f'if (of_python(self)) not_defined(self, "{c.name}", "{snake(function.name)}"); '
            else:
                own = f"if (of_python(self)) {{ {self.body(overload, f'self.{name}::{function.name}')} }} "
                own = own.replace("; }", "; return; }") if str(overload.result) == "void" else own
            body = own + body
        return f"[]({parameters}) {{ {body} }}"

    @staticmethod
    def same(hook, overload):
        return [str(a.type) for a in hook.arguments] == [str(a.type) for a in overload.arguments]

    def static(self, overload, owner):
        parameters = ", ".join(self.parameters(overload))
        prefix = f"{owner}::" if owner else "cermet::"
        return f"[]({parameters}) {{ {self.body(overload, prefix + overload.function.name)} }}"

    def init(self, c, overload, alias):
        parameters, (before, arguments) = ", ".join(self.parameters(overload)), self.call_arguments(overload)
        made = trampoline_name(c) if alias else c.cpp.name
        shared = f"std::shared_ptr<{c.cpp.name}>(std::make_shared<{made}>({arguments}))"
        if not before:
            return f"[]({parameters}) {{ return {shared}; }}"
        names = [self.cpp_name(a) for a in overload.shown() if a.role == "list"]
        appended = " ".join(f"append_all({name}, std::move(made_{name}));" for name in names)
        return f"[]({parameters}) {{ {' '.join(before)} auto result = {shared}; {appended} return result; }}"

    def inits(self, c):
        lines, name = [], c.cpp.name
        if (c.abstract and not c.subclassable) or c.cpp.protected_destructor:
            return lines
        for overload in c.inits:
            if overload.init_of_template:
                types = "".join(", " + str(a.type) for a in overload.arguments)
                lines.append(f"def_init<{name}{types}>(c{self.extras(overload)});")
                continue
            factories = [self.init(c, overload, alias=False)] if not c.abstract else []
            factories += [self.init(c, overload, alias=True)] if c.subclassable else []
            lines.append(f"c.def(py::init({', '.join(factories)}){self.extras(overload)});")
        if c.subclassable and not c.cpp.constructors or (c.subclassable and not c.inits):
            lines.append(f"def_default_init<{name}, {trampoline_name(c)}>(c);")
        elif c.aggregate:
            lines.append(self.aggregate(c))
        elif not c.cpp.constructors and not c.inits:
            lines.append(f"def_default_init<{name}>(c);")
        return lines

    def aggregate(self, c):
        """Every field is a keyword argument."""
        fields = [m for m in c.members.values() if m.field]
        resolve = lambda m: self.surface.model.resolve(m.field.type, c.cpp.name)  # noqa: E731
        parameters = ", ".join(f"{resolve(m)} {m.field.name}" for m in fields)
        sets = " ".join(f"made->{m.field.name} = {m.field.name};" for m in fields)
        extras = "".join(f', py::arg("{m.name}") = {c.cpp.name}().{m.field.name}' for m in fields)
        names = ", ".join(f'"{m.name}"' for m in fields)
        return (
            f"c.def(py::init([]({parameters}) {{ auto made = std::make_shared<{c.cpp.name}>(); {sets} return made; }})"
            f"{extras}); def_repr(c, {{{names}}});"
        )

    def property_parts(self, c, member):
        name = c.cpp.name
        if member.field:
            type_, f = self.surface.model.resolve(member.field.type, name), member.field.name
            getter = f"[](const {name}& self) {{ return self.{f}; }}"
            return getter, f"[]({name}& self, {type_.value()} value) {{ self.{f} = std::move(value); }}"
        function = member.getter.function
        self_type = f"const {name}&" if function.const else f"{name}&"
        getter = f"[]({self_type} self) {{ {self.body(member.getter, f'self.{function.name}')} }}"
        if member.getter.result.pointer and not self.is_kernel(member.getter.result.name):
            getter = f"py::cpp_function({getter}, py::return_value_policy::reference)"
        if member.setter is None:
            return getter, None
        value = member.setter.arguments[0]
        return getter, f"[]({name}& self, {value.type} value) {{ self.{member.setter.function.name}(value); }}"

    def property(self, c, member):
        getter, setter = self.property_parts(c, member)
        doc = f", {literal(member.doc)}" if member.doc else ""
        kind = "def_property_readonly" if setter is None else "def_property"
        parts = ", ".join([f'"{member.name}"', getter] + ([setter] if setter else []))
        line = f"c.{kind}({parts}{doc});"
        if member.overloads:
            statics = " ".join(
                f"c.def_static(name, {self.static(o, c.cpp.name)}{self.extras(o)});" for o in member.overloads
            )
            line += f' static_beside(c, "{member.name}", [&](const char* name) {{ {statics} }});'
        return line

    def member(self, c, member):
        if member.deleted:
            return f'def_deleted(c, "{c.name}", "{member.name}", {literal(member.doc)});'
        if member.kind == "property":
            return self.property(c, member)
        lines = []
        for overload in member.overloads:
            extras = self.policy(overload) + self.extras(overload, self.guarded(overload))
            if member.kind == "static":
                lines.append(f'c.def_static("{member.name}", {self.static(overload, c.cpp.name)}{extras});')
            else:
                lines.append(f'c.def("{member.name}", {self.method(c, overload)}{extras});')
        return "\n  ".join(lines)

    # -- files ---------------------------------------------------------------------------------------

    def class_type(self, c):
        parts = [c.cpp.name] + c.bases + ([trampoline_name(c)] if c.subclassable else [])
        holder = "Unowned" if c.cpp.protected_destructor else "std::shared_ptr"
        return f"py::class_<{', '.join(parts)}, {holder}<{c.cpp.name}>>"

    def declaration(self, c):
        owner, _, last = c.cpp.name.rpartition("::")
        scope = f"py::type::of<{owner}>()" if owner else "m"
        where = f"C++: `cermet::{c.cpp.name}` of `{c.cpp.header}`."
        return f'{identifier(c.cpp.name)}_({scope}, "{spelled(last)}", {literal(c.doc + chr(10) * 2 + where)});'

    def definition(self, c):
        lines = [f"auto c = py::reinterpret_borrow<{identifier(c.cpp.name)}_>(py::type::of<{c.cpp.name}>());"]
        lines += self.inits(c)
        if c.nodes:
            for overload in c.inits:
                make = self.init(c, overload, alias=False)
                lines.append(f'c.def_static("node", {make}{self.extras(overload)});')
        lines += [self.member(c, member) for member in c.members.values()]
        lines += [f'c.attr("{f.name}") = {c.cpp.name}::{f.name};' for f in c.constants]
        lines.append("finish_class(c);")
        return lines

    def file(self, header):
        surface, name = self.surface, stem(header)
        classes = [c for c in surface.classes.values() if c.cpp.header == header]
        text = [
            f"// Made from {header} by python/generate; not for editing.",
            '#include "generated_types.h"',
            "",
            "namespace cermet::python {",
            "namespace {",
        ]
        for c in classes:
            if c.subclassable:
                text.append(trampoline(c, surface.annotation))
            text.append(f"using {identifier(c.cpp.name)}_ = {self.class_type(c)};")
        for c in classes:
            text += ["", f"void define_{identifier(c.cpp.name)}() {{"]
            text += ["  " + line for line in self.definition(c)] + ["}"]
        text += ["}  // namespace", "", f"void declare_{name}(py::module_& m) {{", "  static_cast<void>(m);"]
        text += ["  " + self.declaration(c) for c in self.sorted(classes)] + ["}", ""]
        text += [f"void define_{name}(py::module_& m) {{", "  static_cast<void>(m);"]
        text += [f"  define_{identifier(c.cpp.name)}();" for c in classes]
        for member in surface.functions.values():
            for overload in member.overloads:
                if overload.function.place.split(":")[0] == f"include/{header}":
                    extras = self.policy(overload) + self.extras(overload, self.guarded(overload))
                    text.append(f'  m.def("{member.name}", {self.static(overload, "")}{extras});')
        text += [f'  m.attr("{c.name}") = cermet::{c.name};' for c in surface.constants if c.header == header]
        return "\n".join(text + ["}", "}  // namespace cermet::python", ""])

    def sorted(self, classes):
        """Bases and outer classes first."""
        done, order = set(), []

        def visit(c):
            if c.cpp.name in done:
                return
            done.add(c.cpp.name)
            for name in c.bases + [c.cpp.name.rpartition("::")[0]]:
                if name in self.surface.classes:
                    visit(self.surface.classes[name])
            order.append(c)

        for c in classes:
            visit(c)
        wanted = {c.cpp.name for c in classes}
        return [c for c in order if c.cpp.name in wanted]

    def headers(self):
        """Headers with something to bind, those of bases first."""
        order = []
        for c in self.sorted(list(self.surface.classes.values())):
            if c.cpp.header not in order:
                order.append(c.cpp.header)
        rest = {o.function.place.split(":")[0].removeprefix("include/") for m in self.surface.functions.values() for o in m.overloads}
        rest |= {c.header for c in self.surface.constants}
        return order + sorted(rest - set(order))

    def types(self, headers):
        """What every file must agree on: which classes stand for None, and the enums."""
        handles = [c.cpp.name for c in self.surface.classes.values() if self.is_handle(c.cpp.name)]
        include = sorted(set(headers) | {e.header for e in self.surface.enums.values()})
        text = ["#pragma once", "// Made by python/generate; not for editing.", ""]
        text += [f'#include "{h}"' for h in include] + ['#include "traits.h"', "", "namespace cermet::python {"]
        text += [f"template <>\ninline constexpr bool is_handle<{name}> = true;" for name in handles]
        for name in self.surface.enums:
            shown = f'py::detail::const_name("cermet.{python_name(name)}")'
            text.append(f"template <>\nstruct EnumName<{name}> {{ static constexpr auto value = {shown}; }};")
        return "\n".join(text + ["}  // namespace cermet::python", "", '#include "support.h"', ""])

    def enum(self, enum):
        cases = ", ".join(f'{{"{spelled(n)}", {v}}}' for n, v, _ in enum.cases)
        lines = [self.surface.doc(enum.doc)] if enum.doc else [f"The C++ enum `cermet::{enum.name}`."]
        lines += [f"{spelled(n)}: {self.surface.doc(d)}" for n, _, d in enum.cases if d]
        owner, _, last = enum.name.rpartition("::")
        scope = f"py::type::of<{owner}>()" if owner else "m"
        flags = "true" if enum.underlying == "unsigned int" else "false"
        return f'make_enum<{enum.name}>({scope}, "{last}", {flags}, {{{cases}}}, {literal(chr(10).join(lines))});'

    def all(self, headers):
        """The functions that the module calls."""
        stems = [stem(h) for h in headers]
        text = ["// Made by python/generate; not for editing.", '#include "generated_types.h"', "", "namespace cermet::python {", ""]
        text += [f"void declare_{s}(py::module_& m);\nvoid define_{s}(py::module_& m);" for s in stems]
        # A class that was taken for abstract by mistake would lack its initialisers.
        text += [f"static_assert(std::is_abstract_v<{c.cpp.name}>);" for c in self.surface.classes.values() if c.abstract]
        outer = [e for e in self.surface.enums.values() if "::" not in e.name]
        inner = [e for e in self.surface.enums.values() if "::" in e.name]
        text += ["", "void declare_all(py::module_& m) {"] + ["  " + self.enum(e) for e in outer]
        text += [f"  declare_{s}(m);" for s in stems] + ["  " + self.enum(e) for e in inner] + ["}", ""]
        text += ["void define_all(py::module_& m) {"] + [f"  define_{s}(m);" for s in stems]
        return "\n".join(text + ["}", "}  // namespace cermet::python", ""])
