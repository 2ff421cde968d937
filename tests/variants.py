"""How the files and programs of a build folder (Ninja) are compiled and linked, for tests that change some."""

import json
import pathlib
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def compile_command(build, file, program=None):
    """(words, directory) that compile a file; of the files of several programs, that of `program`."""
    found = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if pathlib.Path(entry["file"]) == ROOT / file:
            found.append((shlex.split(entry["command"]), pathlib.Path(entry["directory"])))
    for words, directory in found:
        if program and f"/{program}.dir/" in " ".join(words):
            return words, directory
    if not found:
        raise SystemExit(f"{file} is not in {build}/compile_commands.json")
    return found[0]


def link_command(build, program):
    lines = subprocess.run(["ninja", "-C", str(build), "-t", "commands", program], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    for part in reversed([p for line in lines for p in line.split(" && ")]):
        words = shlex.split(part)
        if "-o" in words and words[words.index("-o") + 1] == f"tests/{program}":
            return words
    raise SystemExit(f"no link command of the target {program}")
