#!/usr/bin/env python3
"""Cuts the digit set of this folder out of the full MNIST.

    python3 cut.py FOLDER_OF_FULL_MNIST [DESTINATION]

The draw is without replacement over the whole of each set, and the images stay in the drawn order.
The generator is written out below, so the draw is the same on every Python from 3.9 on. The
compressed bytes also depend on zlib (the original zlib 1.2 and 1.3 agree; a replacement such as
zlib-ng may compress otherwise), hence the printed checksums of the contents.
"""

import gzip
import hashlib
import os
import struct
import sys
import zlib

SEED = 20261121
CUTS = (("train", 60000, 12000), ("t10k", 10000, 2000))
MASK = (1 << 64) - 1


class SplitMix64:
    """The splitmix64 sequence: a Weyl counter passed through a 64-bit mixer."""

    def __init__(self, seed):
        self.counter = seed & MASK

    def next(self):
        self.counter = (self.counter + 0x9E3779B97F4A7C15) & MASK
        word = self.counter
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return word ^ (word >> 31)

    def below(self, bound):
        """A whole number in [0, bound), each equally likely: the uneven tail is drawn again."""
        tail = (1 << 64) - (1 << 64) % bound
        while True:
            word = self.next()
            if word < tail:
                return word % bound


def draw(generator, population, count):
    """The first `count` places of a Fisher-Yates shuffle of 0 .. population-1."""
    order = list(range(population))
    for place in range(count):
        other = place + generator.below(population - place)
        order[place], order[other] = order[other], order[place]
    return order[:count]


def read_idx(folder, name, rank):
    """Sizes and values of an IDX file of unsigned bytes, plain or compressed."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, name + ".gz", dotted, dotted + ".gz"):
        path = os.path.join(folder, candidate)
        if os.path.exists(path):
            break
    else:
        sys.exit(
            f"{folder}: has no {name} (plain, .gz, or with a dot before idx). "
            "Name the folder of the full MNIST."
        )
    with open(path, "rb") as file:
        content = file.read()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    header = 4 + 4 * rank
    if content[:4] != bytes((0, 0, 8, rank)) or len(content) < header:
        sys.exit(f"{path}: is not an IDX file of unsigned bytes with {rank} dimension(s).")
    sizes = struct.unpack(f">{rank}I", content[4:header])
    needed = header
    per_item = 1
    for size in sizes[1:]:
        per_item *= size
    needed += sizes[0] * per_item
    if len(content) != needed:
        sys.exit(f"{path}: holds {len(content)} bytes; needed {needed}.")
    return sizes, content[header:]


def compress(content):
    """A gzip member with time 0 and no name (the header of gzip.compress differs by version)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    body = deflate.compress(content) + deflate.flush()
    head = b"\x1f\x8b\x08\x00" + struct.pack("<I", 0) + b"\x02\xff"
    return head + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def write_idx(folder, name, sizes, values):
    content = bytes((0, 0, 8, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes) + values
    packed = compress(content)
    path = os.path.join(folder, name + ".gz")
    with open(path + ".part", "wb") as file:
        file.write(packed)
    os.replace(path + ".part", path)
    print(f"{name}.gz: {len(packed)} bytes, contents sha256 {hashlib.sha256(content).hexdigest()}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = sys.argv[1]
    destination = sys.argv[2] if len(sys.argv) == 3 else os.path.dirname(os.path.abspath(__file__))
    os.makedirs(destination, exist_ok=True)
    generator = SplitMix64(SEED)
    print(f"seed {SEED}")
    for prefix, population, count in CUTS:
        sizes, pixels = read_idx(source, f"{prefix}-images-idx3-ubyte", 3)
        (labelled,), labels = read_idx(source, f"{prefix}-labels-idx1-ubyte", 1)
        if sizes[0] != population or labelled != population:
            sys.exit(
                f"{source}: {prefix} has {sizes[0]} images and {labelled} labels; "
                f"needed {population} of each."
            )
        area = sizes[1] * sizes[2]
        order = draw(generator, population, count)
        cut_pixels = b"".join(pixels[index * area : (index + 1) * area] for index in order)
        cut_labels = bytes(labels[index] for index in order)
        each = ", ".join(f"{digit}: {cut_labels.count(digit)}" for digit in range(10))
        print(f"{prefix}: {count} of {population} ({each})")
        write_idx(destination, f"{prefix}-images-idx3-ubyte", (count, *sizes[1:]), cut_pixels)
        write_idx(destination, f"{prefix}-labels-idx1-ubyte", (count,), cut_labels)


if __name__ == "__main__":
    main()
