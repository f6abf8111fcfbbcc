"""Fixtures of all tests: a small real pipeline."""

from __future__ import annotations

import gc
import os
import traceback
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import scratch

gc.disable()  # nothing that is imported or collected is garbage: a fifth of that time


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounding", type=float, help="kernels round by this share and by shape (see other_kernels)")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # what xdist's workers share is made once, and goes when all are done
        scratch.folder()
    if config.getoption("rounding"):
        from other_kernels import install

        config.add_cleanup(install(config.getoption("rounding")))


def pytest_collection_finish() -> None:
    """What the libraries are made of stays till the end: the garbage collector need not look at it again and again."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 10, 10)  # pipelines come and go: at 700, as it is by itself, a tenth of all time


@pytest.fixture
def pipe() -> Any:
    """A fresh tiny text-to-image pipeline; every test may do to it what it likes."""
    import tiny  # here: the process that hands the tests out to others needs no torch

    return tiny.pipeline()


@pytest.fixture(autouse=True)
def no_call_left() -> Any:
    """No test may leave a guarded call open."""
    from stanchion.pipeline.attach.guarded_class import CURRENT

    yield
    assert CURRENT.get() is None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """torch's own bfloat16 attention fails where the processor has AVX-512 and ``ATEN_CPU_CAPABILITY`` hides it."""
    try:
        return (yield)
    except Exception as error:
        if "pack_vnni2 is only supported when avx512" in "".join(traceback.format_exception(error)):
            pytest.skip("torch can't multiply in bfloat16 under this ATEN_CPU_CAPABILITY")
        raise
