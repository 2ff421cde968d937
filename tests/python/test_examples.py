"""The example programs and the page of the guide run as they stand."""

import re
import subprocess
import sys

from help import ROOT


def test_train_digits():
    program = ROOT / "examples" / "python" / "train_digits.py"
    options = ["--steps", "40", "--batch", "32", "--device", "cpu:1"]
    done = subprocess.run([sys.executable, program, *options], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"accuracy on the test images: ([\d.]+) %", done.stdout)[1])
    assert accuracy > 70, done.stdout


def test_the_guide():
    page = (ROOT / "docs" / "guide" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:  # one after the other, as a reader would
        exec(compile(block, "python.md", "exec"), names)
    assert names["losses"][-1] < names["losses"][0]
