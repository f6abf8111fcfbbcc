"""When two results must be the same to the last bit, and how near they must be otherwise.

A kernel may round one and the same row differently in a batch of two and in a batch of three, on one thread and on
two; whether it does is the processor's business. So:

* The same arithmetic by construction (the same shapes, in the same order, in the same batch, by the same kernels; a
  copy, a file read back, a weight that nobody touched): `same_bits`.
* The same mathematics in another batch, in another order or by another kernel: `near`, and `within_a_level` of
  pictures in 8 bits.
* Something must have changed: ``not near``. ``not same_bits`` would be content with a rounding; it is for what no
  kernel computes again (a weight, a seed's noise).

``pytest --rounding 1e-3`` plays a processor whose kernels round coarsely and by shape (`other_kernels`): whatever says
`same_bits` passes there as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

SPREAD = 2e-6  # of the largest value; `test_closeness` holds the unguarded pipeline's rows to it on any machine


def same_bits(one: Any, other: Any) -> bool:
    """Whether nothing differs, of tensors or arrays: right only where both came by the same arithmetic (see above)."""
    return torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def near(one: Any, other: Any, *, spread: float = SPREAD) -> bool:
    """Whether nothing differs by more than ten times the spread of the unguarded pipeline's own rows."""
    return difference(one, other) <= 10 * spread


def difference(one: Any, other: Any) -> float:
    """The largest difference of two tensors of one shape, as a share of the largest value (or of 1)."""
    one, other = (torch.as_tensor(value).detach().double() for value in (one, other))
    assert one.shape == other.shape
    return float((one - other).abs().max()) / max(1.0, float(other.abs().max()))


def within_a_level(one: Any, other: Any) -> bool:
    """Whether two pictures in 8 bits differ by a level of 255 at most: a value on the edge may be rounded to either."""
    one, other = (np.asarray(value).astype(int) for value in (one, other))
    return one.shape == other.shape and bool(np.abs(one - other).max() <= 1)
