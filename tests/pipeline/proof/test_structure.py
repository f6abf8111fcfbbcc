"""Parts in other places: seen where no tensor says anything."""

import pytest
from torch import nn

from stanchion.pipeline.proof.structure import Structure


def model() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))


@pytest.mark.parametrize("exact", [True, False])
def test_another_part_in_a_place_is_seen_until_the_own_one_is_back(exact: bool) -> None:
    root = model()
    structure, own = Structure(root, exact=exact), root[0][1]
    assert structure.changed() == ""
    root[0][1] = nn.Identity()
    assert structure.changed() == "1 of a Sequential is another module"
    root[0][1] = own
    assert structure.changed() == ""


@pytest.mark.parametrize(("exact", "seen"), [(True, "2 of a Sequential is another module"), (False, "")])
def test_what_comes_beside_is_seen_where_nothing_may(exact: bool, seen: str) -> None:
    root = model()
    structure = Structure(root, exact=exact)
    root.append(root[1])
    assert structure.changed() == seen


def test_a_part_that_is_gone_is_seen() -> None:
    root = model()
    structure = Structure(root, exact=False)
    del root[1]
    assert structure.changed() == "1 of a Sequential is another module"
