"""From the headers to what Python has: classes with methods, properties and initialisers, by the
rules. Raises Unbound for a public declaration that no rule covers.
"""

import csv

import rules
from cpp_types import Type
from members import Argument, Member, Overload, PyClass, Unbound, annotation, python_name
from names import python_doc, snake

class Surface:
    def __init__(self, model, inventory):
        self.model = model
        self.used = set()
        with open(inventory, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        self.property_names = {row["name"] for row in rows if row["kind"] == "property"}
        words = set()
        for one in model.classes.values():
            for function in one.functions + one.constructors:
                words.add(function.name)
                words.update(p.name for p in function.parameters)
            words.update(f.name for f in one.fields)
        for _, function in model.functions:
            words.add(function.name)
            words.update(p.name for p in function.parameters)
        self.words = words
        self.classes, self.enums, self.functions, self.constants = {}, {}, {}, []
        self.build()

    # -- which ---------------------------------------------------------------------------------------

    def excluded(self, key):
        if key in rules.MEMBERS:
            self.used.add(key)
            return True
        return False

    def header_excluded(self, header):
        if header in rules.HEADERS:
            self.used.add(header)
            return True
        return bool(rules.OPERATOR_HEADERS.match(header))

    def is_bound(self, name):
        one = self.model.classes.get(name)
        return (
            one is not None
            and not name.startswith("detail::")
            and not one.internal
            and one.template is None
            and not self.is_operator(one)
            and name not in rules.CLASSES
            and not self.header_excluded(one.header)
        )

    def is_operator(self, one):
        """Whether a class is the operator of a backend, or inside of one: its kernel classes are in Python."""
        owner = self.model.classes.get(one.name.rpartition("::")[0], one)
        return {"name", "access"} <= {f.name for f in owner.fields if f.constant}

    def signature(self, function, scope):
        """The types of the parameters; inside detail its names may stand alone, as some libclang tell them."""
        types = [str(self.model.resolve(p.type, scope)) for p in function.parameters]
        return ", ".join(types).replace("detail::", "")

    def is_internal(self, function, scope):
        types = [function.result] + [p.type for p in function.parameters]
        if function.internal:
            return True
        names = {name for t in types for name in self.model.resolve(t, scope).names()}
        operators = any(self.is_operator(self.model.classes[n]) for n in names if n in self.model.classes)
        return operators or any(rules.INTERNAL_TYPES.match(name) for name in names)

    def is_left_out(self, owner, function):
        name = f"{owner.name}.{function.name}" if owner else function.name
        if function.template and function.name in ("register_codable", "decode"):
            name += "<T>"
        return self.excluded(name) or self.excluded(f"{name}({self.signature(function, owner.name if owner else '')})")

    def annotation(self, type_, place=""):
        """How Python's documentation spells the type; raises Unbound where there is none."""
        return annotation(type_, place, lambda name: name in self.model.enums or self.is_bound(name))

    # -- building ------------------------------------------------------------------------------------

    def build(self):
        for name, enum in self.model.enums.items():
            owner = name.rpartition("::")[0]
            backend = enum.header in rules.HEADERS and not enum.header.startswith("cermet/train")
            if not (backend or (owner and not self.is_bound(owner))):
                self.enums[name] = enum
        for name, one in self.model.classes.items():
            if name in rules.CLASSES:
                self.used.add(name)
            elif self.is_bound(name) and name not in rules.HANDWRITTEN_CLASSES:
                self.classes[name] = self.class_(one)
        for header, function in self.model.functions:
            if self.header_excluded(header) or self.is_left_out(None, function) or self.is_internal(function, ""):
                continue
            member = self.functions.setdefault(function.name, Member(snake(function.name), "static"))
            member.overloads.append(self.overload(function, None))
        for constant in self.model.constants:
            if not self.header_excluded(constant.header):
                self.constants.append(constant)
        known = set(rules.HEADERS) | set(rules.CLASSES) | set(rules.MEMBERS)
        stale = sorted(known - self.used)
        if stale:
            raise Unbound("rules that match no declaration: " + ", ".join(stale))

    def python_bases(self, one):
        """The bases that Python has: internal ones give way to theirs."""
        found = []
        for base in one.bases:
            name = base.name
            if self.is_bound(name):
                found.append(name)
            elif name in self.model.classes:
                found += self.python_bases(self.model.classes[name])
            elif not name.startswith("std::"):
                raise Unbound(f"{one.place}: the base {base} of {one.name} is not known")
        return found

    def lineage(self, one):
        """The class and its bases, through templates, nearest first."""
        found, queue = [], [one]
        while queue:
            next_ = queue.pop(0)
            if next_ in found:
                continue
            found.append(next_)
            for base in next_.bases:
                queue += [self.model.classes[base.name]] if base.name in self.model.classes else []
        return found

    def class_(self, one):
        lineage = self.lineage(one)
        names = [c.name for c in lineage]
        subclassable = not one.final and any(n in rules.SUBCLASSABLE for n in names)
        pure, seen = [], set()
        for owner in lineage:
            for f in owner.functions:
                key = (f.name, self.signature(f, owner.name))
                pure += [f] if f.pure and key not in seen else []
                seen.add(key)
        new = PyClass(one, python_name(one.name), self.python_bases(one), "", bool(pure), subclassable)
        new.doc = self.doc(one.doc) or self.fallback_doc(lineage)
        if pure and not subclassable and not any(n in rules.LIBRARY_BASES for n in names):
            raise Unbound(f"{one.place}: {one.name} is abstract; is it for subclasses in Python? See rules.py")
        if subclassable:
            new.hooks = self.hooks(lineage)
        self.fields(new)
        self.inits(new, lineage)
        self.functions_of(new, lineage)
        return new

    def doc(self, text):
        return python_doc(text, self.words)

    def fallback_doc(self, lineage):
        one, base = lineage[0], next((b for b in lineage[1:] if b.doc and self.is_bound(b.name)), None)
        if base is None:
            return f"The C++ class `cermet::{one.name}`."
        return f"A {python_name(base.name)}: " + self.doc(base.doc)

    def hooks(self, lineage):
        """Virtual functions for Python to override, the most derived declaration of each."""
        found, seen = [], set()
        for owner in lineage:
            for function in owner.functions:
                key = (function.name, self.signature(function, owner.name))
                allowed = function.access == "public" or function.name in rules.PROTECTED_HOOKS
                if not function.virtual or function.name.startswith("~") or key in seen or not allowed:
                    continue
                seen.add(key)
                found.append(self.overload(function, owner, hook=True))
        return found

    def fields(self, new):
        one = new.cpp
        for f in one.fields:
            if f.internal or self.excluded(f"{one.name}.{f.name}"):
                continue
            if f.constant:
                new.constants.append(f)
                continue
            self.annotation(self.model.resolve(f.type, one.name), f"{one.place} {one.name}.{f.name}")
            new.members[f.name] = Member(snake(f.name), "property", self.doc(f.doc), field=f)
        plain = not one.constructors and not one.bases and not any(f.virtual for f in one.functions)
        new.aggregate = plain and bool(new.members)

    def inits(self, new, lineage):
        constructors = [(f, new.cpp) for f in new.cpp.constructors]
        for name, access in new.cpp.reveals:
            for base in lineage[1:]:
                if base.name.split("::")[-1] == name and access == "public":
                    constructors += [(f, base) for f in base.constructors]
        for function, owner in constructors if not new.cpp.protected_destructor else []:
            if function.access != "public" or function.deleted or self.is_internal(function, owner.name):
                continue
            if self.is_left_out(owner, function):
                continue
            overload = self.overload(function, owner)
            overload.init_of_template = function.of_template
            for argument in overload.outs():  # an initialiser has no result to return them with
                argument.role = "list"
            new.inits.append(overload)

    def functions_of(self, new, lineage):
        one = new.cpp
        groups = {}
        for function in one.functions:
            usable = function.access == "public" and not function.name.startswith(("~", "operator"))
            if usable or (function.access == "public" and f"{one.name}.{function.name}" in rules.MEMBERS):
                groups.setdefault(function.name, []).append((function, one))
        for name, access in one.reveals:
            if access == "public":
                groups.setdefault(name, [])
                groups[name] += self.revealed(name, lineage[1:])
        for name, functions in groups.items():
            left = [(f, o) for f, o in functions if not self.is_left_out(o, f) and not self.is_internal(f, o.name)]
            if name in [c.name.split("::")[-1] for c in lineage]:
                continue  # inherited constructors
            if all(f.deleted for f, _ in left) and left:
                new.members[name] = Member(snake(name), "method", self.doc(left[0][0].doc), deleted=True)
                continue
            if any(f.variadic for f, _ in left):
                if name != "node":
                    raise Unbound(f"{left[0][0].place}: no rule for the variadic template {one.name}::{name}")
                new.nodes = True
                continue
            own = [f for f, o in left if o is one]
            if own and not new.subclassable and not any(f.doc for f in own) and all(self.overrides(f, lineage) for f in own):
                continue  # the base's binding calls the same virtual function
            if left and not name.startswith(("set", "operator")) or (left and not self.is_setter(left, lineage)):
                self.add(new, name, left, lineage)
        for name, functions in groups.items():  # setters whose getter is inherited
            left = [(f, o) for f, o in functions if not self.is_left_out(o, f) and not self.is_internal(f, o.name)]
            getter = self.getter_name(name)
            if left and getter and self.is_setter(left, lineage) and getter not in new.members:
                inherited = self.revealed(getter, lineage[1:])
                self.add(new, getter, inherited, lineage)

    def revealed(self, name, bases):
        """The functions that `using Base::name` brings in: those of the nearest base that has some."""
        for base in bases:
            found = [(f, base) for f in base.functions if f.name == name and f.access == "public"]
            deeper = any(n == name for n, _ in base.reveals)
            if found or deeper:
                if deeper:
                    found += self.revealed(name, [b for b in self.lineage(base)[1:]])
                return found
        return []

    def overrides(self, function, lineage):
        return function.virtual and any(
            f.name == function.name and self.signature(f, base.name) == self.signature(function, lineage[0].name)
            for base in lineage[1:]
            for f in base.functions
        )

    @staticmethod
    def getter_name(name):
        if name.startswith("set_"):
            return name[4:]
        return name[3].lower() + name[4:] if name.startswith("set") and len(name) > 3 and name[3].isupper() else None

    def is_setter(self, functions, lineage):
        """Whether these belong to a property: one argument, and a getter in the class or a base."""
        getter = self.getter_name(functions[0][0].name)
        if getter is None or len(functions) != 1 or len(functions[0][0].parameters) != 1:
            return False
        getters = [f for c in lineage for f in c.functions if f.name == getter and f.access == "public"]
        return any(self.is_getter(f, lineage) for f in getters)

    def is_getter(self, function, lineage):
        if function.parameters or function.static or function.template or str(function.result) == "void":
            return False
        if function.virtual and any(c.name in rules.SUBCLASSABLE for c in lineage):
            return False
        if function.name in self.property_names:
            return True
        return function.const and not rules.DOING.match(function.name)

    def setter_of(self, name, lineage):
        wanted = {"set" + name[0].upper() + name[1:], "set_" + name}
        for owner in lineage:
            found = [(f, owner) for f in owner.functions if f.name in wanted and f.access == "public"]
            if len(found) == 1 and len(found[0][0].parameters) == 1 and not self.is_internal(found[0][0], owner.name):
                return self.overload(*found[0])
            if found:
                return None
        return None

    def add(self, new, name, functions, lineage):
        instance = [(f, o) for f, o in functions if not f.static]
        static = [(f, o) for f, o in functions if f.static]
        if len(instance) == 1 and self.is_getter(instance[0][0], lineage):
            member = Member(snake(name), "property", getter=self.overload(*instance[0]))
            member.setter = self.setter_of(name, lineage)
            docs = [member.getter.doc, member.setter.doc if member.setter else ""]
            member.doc = "\n".join(dict.fromkeys(d for d in docs if d))
            member.overloads = [self.overload(f, o) for f, o in static]  # called on the class
        else:
            if static and instance:
                raise Unbound(f"{static[0][0].place}: {new.cpp.name}::{name} is static and not static")
            member = Member(snake(name), "static" if static else "method")
            member.overloads = [self.overload(f, o) for f, o in functions if not f.deleted]
        new.members[name] = member

    def overload(self, function, owner, hook=False):
        scope = owner.name if owner else ""
        place = f"{function.place} {scope + '::' if scope else ''}{function.name}"
        unknown = set(function.template) - {"S"}
        if unknown:
            raise Unbound(f"{place}: no rule for a template")
        arguments = []
        for parameter in function.parameters:
            type_ = self.model.resolve(parameter.type, scope)
            if function.template:
                type_ = Type(type_.name, [Type("State") if a.name == "S" else a for a in type_.args],
                             type_.const, type_.pointer, type_.reference)
            name = snake(parameter.name) if parameter.name else self.unnamed(type_, arguments)
            argument = Argument(name, parameter, type_)
            self.role(argument, arguments, function, owner, place, hook)
            arguments.append(argument)
        result = self.model.resolve(function.result, scope)
        overload = Overload(function, owner, arguments, result, self.doc(function.doc))
        if str(result) not in ("void",):
            self.annotation(result, place)
        if result.pointer and result.name in ("float", "void", "std::array"):
            overload.count = self.count_of_result(function, owner, place)
        elif result.pointer and self.is_value(result.name):
            overload.count = self.count_of_result(function, owner, place)
            overload.result = Type("std::vector", [Type(result.name)])
        return overload

    def is_value(self, name):
        """Whether a pointer to such objects is one to an array of them."""
        return name in self.classes and self.classes[name].aggregate

    def role(self, argument, before, function, owner, place, hook):
        type_ = argument.type
        if type_.pointer and type_.name in ("float", "void"):
            owners = [c.name for c in self.lineage(owner)] if owner else []
            count = rules.count_rule(owners, function.name, argument.parameter.name)
            following = function.parameters[len(before) + 1 :]
            if count is None and following and following[0].name == "count":
                count = "count"
            if count is None or type_.name == "void":
                raise Unbound(f"{place}: no rule in COUNTS for the pointer {argument.parameter.name}")
            argument.role, argument.count = "floats", count
        elif before and before[-1].role == "floats" and before[-1].count == "count":
            argument.role = "count"
        elif type_.pointer and self.is_value(type_.name):
            name = argument.parameter.name
            if not before or before[-1].parameter.name != "numberOf" + name[:1].upper() + name[1:]:
                raise Unbound(f"{place}: no number before the pointer {name}")
            before[-1].role, before[-1].count = "items_count", name
            argument.role, argument.type = "items", Type("std::span", [Type(type_.name, const=True)])
        elif type_.pointer and not type_.const and type_.name in ("std::shared_ptr", "std::vector", "StateBatch"):
            argument.role = "out"
            self.annotation(type_.pointee(), place)
        else:
            self.annotation(type_, place)
            mutable = type_.reference == "&" and not type_.const
            if mutable and not self.is_bound(type_.name):
                raise Unbound(f"{place}: no rule for the reference {argument.parameter.name}")
            if mutable and type_.name in self.classes and self.classes[type_.name].subclassable:
                argument.role = "object"

    def count_of_result(self, function, owner, place):
        lineage = self.lineage(owner)
        count = rules.count_rule([c.name for c in lineage], function.name)
        if count is None and any(f.name == "numberOfFeatureChannels" for c in lineage for f in c.functions):
            count = "self.numberOfFeatureChannels()"
        if count is None:
            raise Unbound(f"{place}: no rule in COUNTS for the length of the result")
        return count

    @staticmethod
    def unnamed(type_, before):
        """A name for a parameter that the header leaves without one."""
        base = type_.args[0].args[0].name if type_.args and type_.args[0].args else None
        base = base or (type_.args[0].name if type_.args else type_.name)
        name = snake(base.split("::")[-1]) + ("s" if type_.name == "std::span" else "")
        taken = [a.name for a in before]
        return next(n for n in [name] + [f"{name}_{i}" for i in range(2, 9)] if n not in taken)

