"""Runs one file of tests for CTest; ends with 77, not run, where a package is missing."""

import sys

try:
    import numpy  # noqa: F401
    import pytest
except ImportError as missing:
    print(f"not run: {missing}")
    sys.exit(77)
sys.exit(pytest.main(["-q", "-rs", "--tb=short", "-p", "no:cacheprovider", *sys.argv[1:]]))
