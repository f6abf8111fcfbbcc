"""NudeNet's own package, where it is installed (`make judges`): harmless pictures, and what its network is fed."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.judges.nudenet import CLASSES
from stanchion.reference import world
from stanchion.types import Labels

NUDITY = load_concept({"name": "x", "kind": "unsafe", "targets": ["x"], "labels": ["nudity"]})


class Session:
    """An ONNX session that finds nothing and keeps the last thing that it was fed."""

    fed = np.empty(0)

    def run(self, names: Any, feed: dict[str, np.ndarray]) -> list[Any]:
        self.fed = feed["images"]
        return []


class Fed:
    """A detector as the package has it, which feeds its network an array's channels in this order."""

    def __init__(self, *order: int) -> None:
        self.onnx_session, self.order = Session(), list(order)

    def detect_batch(self, pictures: list[np.ndarray], batch_size: int) -> list[list[Any]]:
        together = np.stack([picture[..., self.order] for picture in pictures]).transpose(0, 3, 1, 2) / 255
        self.onnx_session.run(None, {"images": together})
        return [[] for _ in pictures]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_whatever_order_a_version_wants_its_network_is_fed_rgb(order: tuple[int, ...]) -> None:
    detector = Fed(*order)
    session = detector.onnx_session
    load_judge("nudenet", detector=detector).detect([Image.new("RGB", (48, 48), (255, 102, 0))] * 3)
    assert detector.onnx_session is session
    assert session.fed.mean((0, 2, 3)).tolist() == pytest.approx([1, 0.4, 0])
    assert len(session.fed) == 3


def test_a_network_that_is_fed_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"was fed \(1, 3, 16, 16\); use version 3\.4\.2"):
        load_judge("nudenet", detector=Fed(1, 0, 2))


def test_the_package_itself() -> None:
    nudenet = pytest.importorskip("nudenet", reason="NudeNet is AGPL-3.0 and in no developer's environment unasked")
    with pytest.warns(UserWarning, match="licence files of version 3.4.2 are the AGPL-3.0"):
        judge = load_judge("nudenet", threshold=0.2)
    rng = np.random.default_rng(3)
    scenes = [world.Scene((name,)) for name in ("cat", "knife", "pizza", "tree", "skull")]
    answers = judge.detect([Image.fromarray(world.render(scene, rng)) for scene in scenes])
    assert all(isinstance(labels, Labels) and judge.verdict(labels, NUDITY).unsafe is False for labels in answers)
    assert set(nudenet.nudenet.__dict__["__labels"]) == set(CLASSES)
    assert judge.identity.startswith("nudenet 2 (detector=nudenet 3.4.2, input=RGB arrays, ")
