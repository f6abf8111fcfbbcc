"""Fixtures of all tests: a small real pipeline."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tiny


@pytest.fixture
def pipe() -> Any:
    """A fresh tiny text-to-image pipeline; every test may do to it what it likes."""
    return tiny.pipeline()


@pytest.fixture(autouse=True)
def no_call_left() -> Any:
    """No test may leave a guarded call open."""
    from stanchion.pipeline.stand_in import CURRENT

    yield
    assert CURRENT.get() is None
