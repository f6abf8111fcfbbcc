"""Fixtures of all tests: a small real pipeline."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tiny


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounding", type=float, help="kernels round by this share and by shape (see other_kernels)")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # what xdist's workers share is made once, and goes when all are done
        tiny._shared()
    if config.getoption("rounding"):
        from other_kernels import install

        config.add_cleanup(install(config.getoption("rounding")))


@pytest.fixture
def pipe() -> Any:
    """A fresh tiny text-to-image pipeline; every test may do to it what it likes."""
    return tiny.pipeline()


@pytest.fixture(autouse=True)
def no_call_left() -> Any:
    """No test may leave a guarded call open."""
    from stanchion.pipeline.attach.guarded_class import CURRENT

    yield
    assert CURRENT.get() is None
