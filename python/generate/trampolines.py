"""C++ classes through which the library calls functions that a Python subclass overrides."""

from names import snake


def trampoline_name(c):
    return c.cpp.name.replace("::", "_") + "InPython"


def hook(c, overload, annotation):
    """The override of one virtual function, and the member that it needs."""
    function, result = overload.function, overload.result
    names = [a.parameter.name or a.name for a in overload.arguments]
    parameters = ", ".join(f"{a.type} {n}" for a, n in zip(overload.arguments, names))
    head = f"  {result} {function.name}({parameters}){' const' if function.const else ''} override {{"
    python = snake(function.name)
    more = "".join(", " + n for n in names)
    base = f"{c.cpp.name}::{function.name}({', '.join(names)})"
    kept = f"kept_{python}_"
    if result.pointer:
        number = {"float": "float", "std::array": "std::array<float, 2>"}.get(result.name)
        missing = f'not_defined(*this, "{c.name}", "{python}")' if function.pure else base
        get = f"numbers<{number}>" if number else "numbers_of"
        type_ = "" if number else "self.dataType(), "
        self_ = "auto& self = *this; " if "self" in type_ + overload.count else ""
        body = (
            f'{self_}return {get}(*this, "{python}", {kept}, {type_}[&] {{ return {overload.count}; }}, '
            f"[&]() -> {result} {{ {'' if function.pure else 'return '}{missing}; }});"
        )
        return f"{head} {body} }}\n  mutable KeptArray {kept};"
    value = result.value()
    if result.name == "std::string_view":
        value, base = "std::string", f"std::string({base})"
    fallback = f'not_defined(*this, "{c.name}", "{python}");' if function.pure else f"return {base};"
    call = f'call<{value}>(*this, "{python}", "{annotation(result)}", [&]() -> {value} {{ {fallback} }}{more})'
    if result.name == "std::string_view":
        return f"{head} return {kept} = {call}; }}\n  mutable std::string {kept};"
    return f"{head} return {call}; }}"


def trampoline(c, annotation):
    """The class; `annotation` says how Python spells a type."""
    hooks = [hook(c, overload, annotation) for overload in c.hooks]
    name = trampoline_name(c)
    lines = [f"class {name} final : public {c.cpp.name}, public PythonSide {{", " public:"]
    lines += [f"  using {c.cpp.name}::{c.cpp.name.split('::')[-1]};"] if c.cpp.constructors else []
    return "\n".join(lines + hooks + ["};"])
