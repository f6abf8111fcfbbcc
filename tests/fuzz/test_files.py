"""Damaged artefacts, concept files, specs, rows and records: an error of ours, or what the file says now.

A short run by default; ``STANCHION_FUZZ=1000`` for as many files, ``STANCHION_FUZZ_SEED`` for others.
"""

import os
from pathlib import Path

import pytest

from fuzz.kinds import KINDS, Kind
from fuzz.mutation import Mutator
from stanchion.errors import ConfigError

COUNT = int(os.environ.get("STANCHION_FUZZ", "150"))
SEED = int(os.environ.get("STANCHION_FUZZ_SEED", "0"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_file_is_refused_or_reads_as_it_stands(kind: type[Kind], tmp_path: Path) -> None:
    files, refused = kind(tmp_path), 0
    count = -(-COUNT // len(KINDS))
    for seed in range(SEED, SEED + count):
        files.damage(Mutator(seed))
        try:
            files.check()
        except ConfigError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{kind.__name__}, seed {seed}: {error!r}") from error
    assert refused > count // 4  # else nothing was damaged
