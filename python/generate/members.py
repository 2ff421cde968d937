"""What a Python class has, and how Python spells types."""

from dataclasses import dataclass, field

from cpp_types import Type
from names import spelled

NUMBERS = {
    "bool": "bool",
    "float": "float",
    "double": "float",
    **dict.fromkeys(("int", "unsigned", "unsigned int", "long", "std::size_t", "std::ptrdiff_t", "size_t"), "int"),
    **{f"std::{sign}int{bits}_t": "int" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
TEXTS = {"std::string": "str", "std::string_view": "str", "std::filesystem::path": "str | os.PathLike"}


class Unbound(Exception):
    pass


@dataclass
class Argument:
    name: str  # in Python
    parameter: object
    type: Type
    # in, out, list (of an initialiser: what is appended to), floats (a pointer to numbers), count (of the floats before),
    # items (a pointer to objects), items_count (of the items behind), object (a reference to what Python may have
    # derived from: its shared pointer knows the Python object)
    role: str = "in"
    count: str = ""  # C++ expression: how many floats; of an items_count the name of the items


@dataclass
class Overload:
    function: object
    owner: object  # the class that declares it
    arguments: list
    result: Type
    doc: str
    count: str = ""  # of a result that is a pointer to numbers or objects
    init_of_template: bool = False

    def shown(self):
        return [a for a in self.arguments if a.role in ("in", "floats", "list", "items", "object")]

    def outs(self):
        return [a for a in self.arguments if a.role == "out"]

    def flag(self):
        """Whether `outputs=True` tells this overload from the one without results to append to."""
        return any(a.type.name == "std::vector" for a in self.outs())


@dataclass
class Member:
    name: str
    kind: str  # method, static, property
    doc: str = ""
    overloads: list = field(default_factory=list)
    getter: Overload = None
    setter: Overload = None
    field: object = None
    deleted: bool = False


@dataclass
class PyClass:
    cpp: object
    name: str
    bases: list  # names of C++ classes
    doc: str
    abstract: bool
    subclassable: bool
    inits: list = field(default_factory=list)
    members: dict = field(default_factory=dict)
    hooks: list = field(default_factory=list)  # virtual functions that Python can override
    aggregate: bool = False
    constants: list = field(default_factory=list)
    nodes: bool = False  # has the variadic factory `node`


def python_name(name):
    return ".".join(spelled(part) for part in name.split("::"))


def annotation(type_, place, is_known):
    """How Python spells the type; `is_known` says which names are classes and enums of the module."""
    name, args = type_.name, type_.args
    inner = lambda i=0: annotation(args[i], place, is_known)  # noqa: E731
    if type_.pointer and name in ("float", "void"):
        return "numpy.ndarray"
    if name == "void" and type_.parameters is None:
        return "None"
    if name in NUMBERS:
        return NUMBERS[name]
    if name in TEXTS:
        return TEXTS[name]
    if is_known(name):
        return python_name(name)
    if name in ("std::shared_ptr", "std::unique_ptr"):
        return inner()
    if name == "std::span" or name == "std::vector":
        if args[0].name in ("std::byte", "std::uint8_t") and name == "std::span":
            return "bytes"
        if args[0].name == "std::byte":
            return "bytes"
        if args[0].name in NUMBERS and args[0].name != "bool":
            return "numpy.ndarray"
        return f"list[{inner()}]" if name == "std::vector" else f"Sequence[{inner()}]"
    if name == "std::optional":
        return f"{inner()} | None"
    if name == "std::array":
        return "numpy.ndarray"
    if name == "std::map":
        return f"dict[{inner()}, {inner(1)}]"
    if name == "std::function":
        function = args[0]
        parameters = ", ".join(annotation(p, place, is_known) for p in function.parameters)
        result = Type(function.name, function.args, function.const, function.pointer, function.reference)
        return f"Callable[[{parameters}], {annotation(result, place, is_known)}]"
    raise Unbound(f"{place}: no rule for the type '{type_}'")
