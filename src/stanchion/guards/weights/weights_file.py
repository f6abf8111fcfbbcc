"""Weights that another tool made, as a file: measured, attacked and combined like every other guard's."""

from __future__ import annotations

from ..base import WeightGuard


class WeightsFile(WeightGuard):
    """What somebody's erasure left in place of a module's weights; ``stanchion train weights_file`` reads the file.

    What the weights are good for is not known: no method is behind the name.
    """

    name = "weights_file"
    trained = True
