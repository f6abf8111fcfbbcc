"""FID and KID as papers report them: the formulas on features; a stand-in for Inception sees the pictures."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.image.kid import poly_mmd

from stanchion import registry
from stanchion.benchmark.spec.prompt_spec import Spec, check_spec
from stanchion.errors import ConfigError
from stanchion.metrics.inception import WEIGHTS
from stanchion.metrics.likeness._distances import frechet, squared_mmd
from stanchion.types import Attempt, Labels, Prompt, Verdict

SPEC = {"seed": 1, "guidance_scale": 4.0, "concepts": ("weapons",), "variants": ({"guard": "none"},)}


def _sets(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 12)), 0.3 + 1.2 * rng.normal(size=(m, 12))


def test_kid_is_the_published_estimator() -> None:
    """Bińkowski et al., section 4: two sums over different pairs within the sets, one over all pairs between them."""
    ours, theirs = _sets(9, 7)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 12 + 1) ** 3)

    within = [
        sum(kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j)
        / (len(rows) * (len(rows) - 1))
        for rows in (ours, theirs)
    ]
    between = sum(kernel(x, y) for x in ours for y in theirs) / (9 * 7)
    assert squared_mmd(ours, theirs) == pytest.approx(sum(within) - 2 * between)


def test_kid_is_that_of_torchmetrics_in_blocks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = _sets(40, 40)
    expected = poly_mmd(torch.from_numpy(theirs), torch.from_numpy(ours)).item()
    assert squared_mmd(ours, theirs) == pytest.approx(expected)
    monkeypatch.setattr("stanchion.metrics.likeness._distances.BLOCK", 7)
    assert squared_mmd(ours, theirs) == pytest.approx(expected)
    assert np.isnan(squared_mmd(ours[:1], theirs))


def colours(pixels: Any) -> torch.Tensor:
    """In Inception's place: means of the channels and of a corner."""
    assert pixels.dtype == torch.uint8
    values = pixels.float() / 255
    return torch.cat([values.mean((2, 3)), values[..., :4, :4].mean((2, 3))], 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of noise, as real ones; the even ones are drawn, too."""
    place, rng = tmp_path_factory.mktemp("real"), np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(place / f"{number:02d}.png")
    return place


def _attempts(folder: Path) -> list[Attempt]:
    seen = {"guard": "none", "variant": "default", "attack": "direct", "labels": Labels((), None, None, {})}
    return [
        Attempt(Prompt(f"p{k}", k, f"{k:02d}"), **seen, image=str(path), verdict=Verdict(False), acted={}, seconds=0.0)
        for k, path in enumerate(sorted(folder.glob("*.png"))[::2])
    ]


def _features(paths: list[Path]) -> np.ndarray:
    return np.stack([colours(torch.tensor(np.asarray(Image.open(path))).permute(2, 0, 1)[None])[0] for path in paths])


@pytest.mark.parametrize(("name", "formula"), [("inception_fid", frechet), ("inception_kid", squared_mmd)])
def test_it_is_the_formula_on_the_networks_features(name: str, formula: Any, folder: Path) -> None:
    metric, other = (registry.get("metrics", name)(real=str(folder), network=colours) for _ in range(2))
    drawn, real = _attempts(folder), sorted(folder.glob("*.png"))
    metric.update(drawn, drawn)
    found = metric.compute()
    expected = formula(_features(real[::2]).astype(np.float64), _features(real).astype(np.float64))
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.low < found.value < found.high
    for one in drawn[::-1]:
        other.update([one], [one])
    assert repr(other.compute()) == repr(found)
    other.update([replace(drawn[0], image=None)], drawn[:1])
    assert other.compute().n_unscored == 1
    assert metric.settings["against"].startswith("16 pictures, ")


def test_without_pictures_package_or_weights_it_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fid = registry.get("metrics", "inception_fid")
    with pytest.raises(ConfigError, match=r"metric_settings: \{inception_fid: \{real: FOLDER\}\}"):
        fid()
    with pytest.raises(ConfigError, match="holds 0 pictures"):
        fid(real=str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ConfigError, match=r"pip install 'stanchion\[fid\]'"):
        fid(real=str(folder))
    inception = type(sys)("torch_fidelity.feature_extractor_inceptionv3")
    inception.FeatureExtractorInceptionV3 = None
    monkeypatch.setitem(sys.modules, inception.__name__, inception)
    monkeypatch.setitem(sys.modules, "torch_fidelity", type(sys)("torch_fidelity"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=f"there is no .*/hub/checkpoints/{WEIGHTS}; get "):
        fid(real=str(folder))
    (tmp_path / "other.pth").write_bytes(b"other")
    with pytest.raises(ConfigError, match="not 6726825d…: it is another file"):
        fid(real=str(folder), weights=str(tmp_path / "other.pth"))


def test_a_benchmark_names_what_a_metric_takes() -> None:
    given = {"prompts": {"benign": 2}, "metrics": ("inception_fid",)}
    check_spec(Spec(**SPEC, **given, metric_settings={"inception_fid": {"real": "photographs"}}))
    with pytest.raises(ConfigError, match="metric inception_fid: unknown setting 'reel'; did you mean real"):
        check_spec(Spec(**SPEC, **given, metric_settings={"inception_fid": {"reel": "photographs"}}))
    with pytest.raises(ConfigError, match="metric_settings of inception_kid, which metrics does not name"):
        Spec(**SPEC, **given, metric_settings={"inception_kid": {}})
