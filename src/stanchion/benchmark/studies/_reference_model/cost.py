"""What the reference model costs: seconds to load it, and seconds a picture.

python -m stanchion.benchmark.studies._reference_model.cost loads it once and prints the seconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from ....pipeline.generation import generate
from ....pipeline.loading import load_pipeline, without_progress_bars
from ....reference import model  # noqa: F401  # imports all classes of the pipeline, which loading is not to pay for
from ....types import Estimate

RUNS = 5


def seconds_to_load(runs: int = RUNS) -> Estimate:
    """``load_pipeline("reference")`` in a fresh process, imports not counted: median of ``runs``."""
    command = [sys.executable, "-m", __name__]
    return _median(lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout), runs)


def seconds_per_image(pipeline: Any, steps: int, guidance_scale: float, runs: int = RUNS) -> Estimate:
    """One picture on its own, after one that warms up: median of ``runs``."""

    def draw() -> float:
        start = time.perf_counter()
        generate(pipeline, [0], steps=steps, guidance_scale=guidance_scale, prompt=["a photo of a cat"])
        return time.perf_counter() - start

    draw()
    return _median(draw, runs)


def _median(measure: Callable[[], float], runs: int) -> Estimate:
    """The median with the quickest and the slowest run: of five, they hold the true median in 94 of 100 cases."""
    seconds = [measure() for _ in range(runs)]
    return Estimate(median(seconds), min(seconds), max(seconds), runs)


def main() -> None:
    """Load once, print the seconds."""
    without_progress_bars()
    start = time.perf_counter()
    load_pipeline("reference")
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
