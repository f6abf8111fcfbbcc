"""PartPaths to parts: what takes a part's place is seen, wherever on the way."""

import pytest
from torch import nn

from stanchion.pipeline.proof.part_paths import PartPaths


def model() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("path", "name", "lost"),
    [
        ("0", "0", "0 of a Sequential"),  # the part itself
        ("", "0", "0 of a Sequential"),  # what holds it
        ("", "1", ""),  # another, which nobody asked about
    ],
)
def test_what_takes_a_parts_place_is_seen(path: str, name: str, lost: str) -> None:
    root = model()
    paths = PartPaths(root, [root.get_submodule("0.0")])
    assert not paths.lost()
    setattr(root.get_submodule(path), name, nn.Identity())
    assert paths.lost() == lost


def test_a_part_that_came_back_is_no_loss() -> None:
    root = model()
    part = root.get_submodule("0.0")
    paths = PartPaths(root, [part])
    root[0][0] = nn.Identity()
    assert paths.lost()
    root[0][0] = part
    assert not paths.lost()


def test_a_part_in_two_places_is_known_by_the_first() -> None:
    """As ``named_parameters`` names it."""
    root = model()
    root.append(root[1])
    paths = PartPaths(root, [root[1]])
    root[2] = nn.Identity()
    assert not paths.lost()
    root[1] = nn.Identity()
    assert paths.lost() == "1 of a Sequential"
