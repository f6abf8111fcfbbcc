"""A folder for what all processes of one test run share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """There for as long as the tests run, the same for all processes that run them (`conftest` makes it)."""
    if "STANCHION_TESTS" not in os.environ:
        os.environ["STANCHION_TESTS"] = tempfile.mkdtemp(prefix="stanchion-tests-")
        atexit.register(shutil.rmtree, os.environ["STANCHION_TESTS"], ignore_errors=True)
    return Path(os.environ["STANCHION_TESTS"])
