#!/usr/bin/env python3
"""Makes the sources of the Python module from the public headers.

    generate.py --include DIR --inventory FILE --out DIR    write the sources that have changed
    generate.py ... --list                                  print their names
    generate.py ... --report                                print what is bound and what is not, and why

Ends with 1 at a public declaration that no rule covers (rules.py).
"""

import argparse
import json
import pathlib
import sys

import rules
from bindings import Writer, stem
from declarations import read_headers
from members import Unbound
from stubs import Stubs
from surface import Surface


def write(path, text):
    """Only if it differs, so that nothing is compiled again without need."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def summary(surface):
    """What tests and tools want to know, as plain data."""
    classes = {}
    for c in surface.classes.values():
        members = {}
        for member in c.members.values():
            entry = {"kind": member.kind, "deleted": member.deleted}
            if member.kind == "property":
                entry["writable"] = bool(member.field or member.setter)
            else:
                entry["overloads"] = [[a.name for a in o.shown()] for o in member.overloads]
            members[member.name] = entry
        classes[c.name] = {
            "header": c.cpp.header,
            "bases": c.bases,
            "abstract": c.abstract,
            "subclassable": c.subclassable,
            "aggregate": c.aggregate,
            "inits": [[a.name for a in o.shown()] for o in c.inits],
            "members": members,
        }
    return {
        "classes": classes,
        "handwritten": sorted(rules.HANDWRITTEN_CLASSES),
        "enums": {name.replace("::", "."): [case[0] for case in e.cases] for name, e in surface.enums.items()},
        "functions": sorted(m.name for m in surface.functions.values()),
        "constants": sorted(c.name for c in surface.constants),
    }


def report(surface):
    members = [m for c in surface.classes.values() for m in c.members.values()]
    functions = sum(len(m.overloads) for m in members) + sum(len(c.inits) for c in surface.classes.values())
    properties = sum(m.kind == "property" for m in members)
    free = sum(len(m.overloads) for m in surface.functions.values())
    print(f"{len(surface.classes)} classes, {len(surface.enums)} enums, {functions} methods and initialisers,")
    print(f"{properties} properties, {free} free functions. Not mechanically:")
    for name, reason in {**rules.HEADERS, **rules.CLASSES, **rules.MEMBERS, **rules.HANDWRITTEN_CLASSES}.items():
        print(f"  {name}: {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--include", required=True)
    parser.add_argument("--inventory", required=True)
    parser.add_argument("--out")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    try:
        surface = Surface(read_headers(options.include), options.inventory)
        writer = Writer(surface)
        headers = writer.headers()
        files = {f"{stem(h)}.cpp": writer.file(h) for h in headers}
    except Unbound as problem:
        print(f"generate: {problem}", file=sys.stderr)
        return 1
    files["all.cpp"] = writer.all(headers)
    if options.report:
        report(surface)
    if options.list:
        print(";".join(sorted(files)))
    if options.out:
        out = pathlib.Path(options.out)
        out.mkdir(parents=True, exist_ok=True)
        files["generated_types.h"] = writer.types(headers)
        files["cermet.pyi"] = Stubs(writer).text()
        files["surface.json"] = json.dumps(summary(surface), indent=1, sort_keys=True) + "\n"
        for name, text in files.items():
            write(out / name, text)
        for old in set(out.glob("*.cpp")) - {out / name for name in files}:
            old.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
