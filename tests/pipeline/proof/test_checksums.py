"""One number says what a tensor holds."""

from __future__ import annotations

import pytest
import torch

from stanchion.pipeline.proof.checksums import WORDS, checksums


def summed(numbers):
    return checksums([torch.zeros(3), numbers])[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (65, 33), (16, 64), (0, 4)])
def test_the_sum_sees_every_place_and_no_layout(dtype, shape):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(50).to(dtype)
    own = summed(numbers)
    assert own == summed(numbers.T.contiguous().T if numbers.ndim == 2 else numbers.clone())
    for place in {0, numbers.numel() // 2, numbers.numel() - 1} if numbers.numel() else ():
        changed = numbers.clone()
        changed.view(-1)[place] = not changed.view(-1)[place] if dtype is torch.bool else changed.view(-1)[place] + 1
        assert summed(changed) != own


def test_exchanged_rows_are_seen():
    rows = torch.randn(2, 2 * WORDS, generator=torch.Generator().manual_seed(0))
    assert summed(rows) != summed(rows.flip(0))


def test_a_tensor_that_begins_anywhere_in_its_storage_is_summed_alike():
    numbers = torch.arange(101, dtype=torch.float32)
    assert summed(numbers[1:]) == summed(numbers[1:].clone())


def test_nothing_has_no_sum():
    assert checksums([]) == []


def test_a_number_is_the_tensors_own_whatever_stands_beside_it():
    first, second = (torch.randn(n, 64, generator=torch.Generator().manual_seed(n)) for n in (3, 5))
    assert checksums([first, second]) == checksums([first]) + checksums([second])
    assert checksums([second, first]) == checksums([second]) + checksums([first])
