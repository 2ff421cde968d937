"""The type stub cermet.pyi, for editors and type checkers."""

from members import python_name
from names import spelled

HEAD = '''"""Types of the module `cermet`; made by python/generate."""

import os
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum, IntFlag
from typing import Any, overload

import numpy
'''

# What python/src adds by hand: `Class: signatures`.
ARRAYS = """
    @staticmethod
    def from_numpy(device: Device | None, array: Any{more}) -> {name}: ...
    @staticmethod
    def from_dlpack(device: Device | None, tensor: Any) -> {name}: ...
    def __dlpack__(self, *, stream: Any = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def write(self, array: Any{offset}) -> None: ..."""
FORMAT = ", channel_format: ImageFeatureChannelFormat | None = None"
SEQUENCE = """
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[{element}]: ...
    def __getitem__(self, index: int) -> {element}: ..."""
RAW = "\n    def numpy(self, raw: bool = False) -> numpy.ndarray: ..."
WINDOW = "strides: Image.Strides, region: Region, feature_channel_info: ImageReadWriteParams, image_index: int"
BYTES = "".join(
    f"\n    @overload\n    def {name}(self, data_bytes: numpy.ndarray, data_layout: DataLayout, {rest}) -> None: ..."
    for name in ("read_bytes", "write_bytes")
    for rest in ("image_index: int = 0", WINDOW)
)
BY_HAND = {
    "Image": ARRAYS.format(name="Image", more=FORMAT, offset="") + RAW + BYTES,
    "ImageBatch": ARRAYS.format(name="ImageBatch", more=FORMAT, offset="") + RAW + SEQUENCE.format(element="Image"),
    "StateBatch": SEQUENCE.format(element="Any"),
    "Buffer": ARRAYS.format(name="Buffer", more="", offset=", offset: int = 0")
    + "".join(f"\n    def {n}(self, dtype: Any = 'uint8') -> numpy.ndarray: ..." for n in ("numpy", "read")),
    "Vector": ARRAYS.format(name="Vector", more="", offset="") + "\n    def numpy(self) -> numpy.ndarray: ...",
    "Matrix": ARRAYS.format(name="Matrix", more="", offset="") + "\n    def numpy(self) -> numpy.ndarray: ...",
    "SafeTensor": """
    @staticmethod
    def from_numpy(name: str, array: Any) -> SafeTensor: ...
    def numpy(self) -> numpy.ndarray: ...""",
    "Coder": """
    def __call__(self, key: str, value: Any) -> Any: ...
    def tensor(self, key: str, array: Any) -> numpy.ndarray: ...""",
    "Codable": "\n    def code(self, coder: Coder) -> None: ...",
    "CommandBuffer": "\n    def commit(self) -> None: ...\n    def commit_and_continue(self) -> None: ...",
}
TAIL = '''
class Error(Exception): ...
class InvalidArgument(Error, ValueError): ...
class FileError(Error, OSError): ...
class DeviceError(Error, RuntimeError):
    code: CommandBufferError

def decode(coder: Coder, device: Device | None = None, kind: type | None = None, classes: Sequence[str] = ()) -> Any: ...

__version__: str
'''


class Stubs:
    def __init__(self, writer):
        self.writer, self.surface = writer, writer.surface

    def argument_type(self, type_):
        shown = self.surface.annotation(type_)
        if type_.name == "ImageBatch":
            shown += " | Sequence[Image]"
        elif type_.name == "StateBatch":
            shown += " | Sequence[State]"
        elif shown == "numpy.ndarray":
            shown = "Any"
        nothing = type_.pointer or type_.name in ("std::shared_ptr", "std::function", "ImageBatch", "StateBatch")
        return shown + " | None" if nothing or self.writer.is_handle(type_.name) else shown

    def signature(self, overload, name, own="self", result=None):
        parts = [own] if own else []
        for a in overload.shown():
            default = " = ..." if a.parameter.default is not None else ""
            shown = self.surface.annotation(a.type.pointee()) if a.role == "list" else self.argument_type(a.type)
            parts.append(f"{a.name}: {shown}{default}")
        parts += ["*", "outputs: bool"] if overload.flag() else []
        shown = result or self.result(overload)
        return f"def {name}({', '.join(parts)}) -> {shown}: ..."

    def result(self, overload):
        shown = "None" if str(overload.result) == "void" else self.surface.annotation(overload.result)
        if overload.outs():
            first = [] if shown == "None" else [shown]
            return f"tuple[{', '.join(first + [self.surface.annotation(a.type.pointee()) for a in overload.outs()])}]"
        can_be_none = overload.result.pointer or overload.result.name in ("std::shared_ptr", "Image", "Buffer")
        return f"{shown} | None" if can_be_none and shown != "None" and overload.owner else shown

    def group(self, overloads, name, indent, own="self", static=False, result=None):
        lines = []
        for overload in overloads:
            lines += ["@overload"] if len(overloads) > 1 else []
            lines += ["@staticmethod"] if static else []
            lines.append(self.signature(overload, name, None if static else own, result))
        return [indent + line for line in lines]

    def member(self, c, member, indent):
        if member.deleted:
            return []
        if member.kind != "property":
            return self.group(member.overloads, member.name, indent, static=member.kind == "static")
        type_ = (
            self.surface.model.resolve(member.field.type, c.cpp.name) if member.field else member.getter.result
        )
        shown = self.surface.annotation(type_)
        if not member.field:
            shown = self.result(member.getter)
        if member.field or member.setter:
            return [f"{indent}{member.name}: {shown}"]
        return [f"{indent}@property", f"{indent}def {member.name}(self) -> {shown}: ..."]

    def class_(self, c, indent=""):
        bases = ", ".join(python_name(b) for b in c.bases)
        lines = [f"{indent}class {c.name.split('.')[-1]}{f'({bases})' if bases else ''}:"]
        inner = indent + "    "
        first = " ".join(c.doc.split()).split(". ")[0].rstrip(".").replace("\\", "\\\\")
        lines.append(f'{inner}"""{first}."""')
        for other in self.surface.classes.values():
            if other.cpp.name.rpartition("::")[0] == c.cpp.name:
                lines += self.class_(other, inner)
        if c.aggregate:
            fields = [m for m in c.members.values() if m.field]
            shown = [f"{m.name}: {self.argument_type(self.surface.model.resolve(m.field.type, c.cpp.name))} = ..." for m in fields]
            lines.append(f"{inner}def __init__(self, {', '.join(shown)}) -> None: ...")
        elif not c.abstract or c.subclassable:
            lines += self.group(c.inits, "__init__", inner, result="None")
        if c.nodes:
            lines += self.group(c.inits, "node", inner, static=True, result=c.name)
        for member in c.members.values():
            lines += self.member(c, member, inner)
        lines += [f"{inner}{f.name}: int" for f in c.constants]
        return lines + BY_HAND.get(c.name, "").splitlines()[1:]

    def text(self):
        lines = [HEAD]
        for name, enum in self.surface.enums.items():
            base = "IntFlag" if enum.underlying == "unsigned int" else "IntEnum"
            lines.append(f"class {python_name(name)}({base}):")
            lines += [f"    {spelled(case)} = {value}" for case, value, _ in enum.cases] + [""]
        for c in self.writer.sorted(list(self.surface.classes.values())):
            if "." not in c.name:
                lines += self.class_(c) + [""]
        for member in self.surface.functions.values():
            for overload in member.overloads:
                lines += ["@overload"] if len(member.overloads) > 1 else []
                lines.append(self.signature(overload, member.name, own=None))
        lines += [f"{c.name}: Any" for c in self.surface.constants]
        return "\n".join(lines) + "\n" + TAIL
