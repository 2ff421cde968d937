"""The pages of kernels: the samples run and print what they say, links lead somewhere, nothing is stale."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "kernels").glob("*.md"))
CODE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
SAID = re.compile(r"^\s*print\(.*\)  # (.*)$", re.M)
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", [p for p in PAGES if CODE.search(TEXTS[p])], ids=lambda page: page.stem)
def test_samples_of(page, monkeypatch):
    """Code blocks of a page, one after another in one namespace."""
    monkeypatch.setenv("CERMET_DEVICE", os.environ.get("CERMET_TEST_DEVICE", "cpu:2"))
    printed = []
    namespace = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    blocks, prints = CODE.findall(TEXTS[page]), 0
    for code in blocks:
        printed.clear()
        exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), namespace)
        expected = SAID.findall(code)
        prints += len(printed)
        assert not expected or printed == expected, code
    assert prints, f"{page.name} has samples that print nothing"


def test_there_is_a_page_for_every_kernel():
    """The index names every class that can be encoded."""
    from help import SURFACE

    def is_a(name, wanted):
        bases = SURFACE["classes"].get(name, {}).get("bases", [])
        return name == wanted or any(is_a(base.replace("::", "."), wanted) for base in bases)

    index = TEXTS[ROOT / "docs/kernels/README.md"]
    kernels = [n for n, c in SURFACE["classes"].items() if c["inits"] and not c["abstract"] and is_a(n, "Kernel")]
    missing = [n for n in kernels if not n.startswith(("NNGraph", "NNOptimizer")) and f"| [{n}](" not in index]
    assert kernels and not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of(page):
    text = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, place = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if file.suffix == ".md" and place:
            assert place in anchors(file.read_text(encoding="utf-8")), f"{page.name}: {target}"


def test_nothing_is_stale():
    run = subprocess.run([sys.executable, ROOT / "scripts/pages", "--check"], capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
