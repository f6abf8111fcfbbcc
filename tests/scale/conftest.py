"""A Ray cluster on this machine, once for all tests of this folder; without the extra ``ray`` they are skipped."""

from __future__ import annotations

import os
import warnings

import pytest

import tiny

CORES = 2


@pytest.fixture(scope="session")
def cluster():
    """Joined; a machine too busy to start one in time is no fault of what is tested."""
    ray = pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its own import
        pytest.importorskip("ray.serve")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:
        ray.shutdown()
        pytest.skip(f"no Ray cluster could be started here: {error}")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The tiny pipeline's folder."""
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)
