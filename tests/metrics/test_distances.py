"""FID, KID and LPIPS: the mathematics against torchmetrics, and what the metrics make of pictures in a record."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from stanchion import registry
from stanchion.errors import ConfigError
from stanchion.metrics.intervals import jackknife
from stanchion.metrics.likeness._distances import frechet
from stanchion.metrics.likeness.lpips import LPIPS
from stanchion.metrics.likeness.reference_kid import kernel_distance
from stanchion.reference import world
from stanchion.reference.features import load_features
from stanchion.types import Attempt, Estimate, Labels, Prompt, Verdict

SCENES = [(name, background) for name in world.GENERIC[:8] for background in ("white", "beach", "snow")]


class AsTheyAre(torch.nn.Module):
    """An extractor for torchmetrics that takes the first row of each picture for its features."""

    num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, : self.num_features]


def _two_sets(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    return rng.normal(size=(n, 12)), 0.3 + rng.normal(size=(m, 12)) @ mixing


def _torchmetrics(metric, ours: np.ndarray, theirs: np.ndarray):
    metric.set_dtype(torch.float64)
    for rows, real in ((ours, False), (theirs, True)):
        metric.update(torch.from_numpy(rows)[:, None, None].expand(-1, 3, 2, -1), real=real)
    return metric.compute()


@pytest.mark.parametrize(("n", "m"), [(40, 60), (8, 9)])  # the second: fewer pictures than features
def test_fid_is_that_of_torchmetrics(n: int, m: int) -> None:
    ours, theirs = _two_sets(n, m)
    other = FrechetInceptionDistance(AsTheyAre(), normalize=True, input_img_size=(3, 2, 12))
    assert frechet(ours, theirs) == pytest.approx(_torchmetrics(other, ours, theirs).item(), rel=1e-5)
    assert frechet(ours, ours) == pytest.approx(0, abs=1e-5)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_kid_is_that_of_torchmetrics_but_for_the_pairs() -> None:
    """Over all rows; torchmetrics takes the two sets for independent, and counts the pairs of one scene."""
    ours, theirs = _two_sets(50, 50)
    other = KernelInceptionDistance(AsTheyAre(), normalize=True, subsets=2, subset_size=50)
    independent, _ = _torchmetrics(other, ours, theirs)
    kernel = (ours @ theirs.T / 12 + 1) ** 3
    pairs = 2 * kernel.mean() - 2 * kernel[~np.eye(50, dtype=bool)].mean()
    assert kernel_distance(ours, theirs) == pytest.approx(independent.item() + pairs, rel=1e-5)
    assert kernel_distance(ours, ours) == pytest.approx(0, abs=1e-9)


def test_kid_is_unbiased_where_fid_is_not() -> None:
    """Small sets of the same scenes, drawn alike: KID is zero on average, FID is above."""
    rng = np.random.default_rng(1)
    scenes = [3 * rng.normal(size=(10, 12)) for _ in range(400)]
    pairs = [(scene + rng.normal(size=(10, 12)), scene + rng.normal(size=(10, 12))) for scene in scenes]
    kids = [kernel_distance(one, other) for one, other in pairs]
    assert abs(np.mean(kids)) < 3 * np.std(kids) / np.sqrt(len(kids))
    assert min(frechet(one, other) for one, other in pairs) > 1


def test_one_picture_has_no_distance() -> None:
    rows = np.ones((1, 4))
    assert np.isnan(frechet(rows, rows))
    assert np.isnan(kernel_distance(rows, rows))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=30)
    low, high = jackknife(lambda rows: values[rows].mean(), range(30), values.mean())
    half = 1.959963984540054 * values.std(ddof=1) / np.sqrt(30)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert jackknife(lambda rows: values[rows].mean(), ["one"] * 30, 0.0) == (float("-inf"), float("inf"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Attempt]]:
    """Renders of the prompts' own scenes, the same ones blurred, and the scenes with all objects mixed up."""
    folder = tmp_path_factory.mktemp("drawn")
    return {
        "faithful": [_attempt(folder, "faithful", k, SCENES[k][0]) for k in range(len(SCENES))],
        "blurred": [_attempt(folder, "blurred", k, SCENES[k][0], blur=1.0) for k in range(len(SCENES))],
        "ghosts": [_attempt(folder, "ghosts", k, "ghost") for k in range(len(SCENES))],
    }


def _attempt(folder: Path, what: str, k: int, shown: str, blur: float = 0.0) -> Attempt:
    asked, background = SCENES[k]
    pixels = world.render(world.Scene((shown,), background=background), np.random.default_rng(k))
    picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur))
    picture.save(path := folder / f"{what}{k}.png")
    prompt = Prompt(f"a {asked}", k, f"{k:04d}", (asked,), background=background, template=f"t{k % 2}")
    return Attempt(prompt, "none", "default", "direct", str(path), Labels((), None, None, {}), Verdict(False))


def _measure(
    name: str, attempts: Sequence[Attempt], twins: Sequence[Attempt] | None = None, batch: int = 99
) -> Estimate:
    metric = registry.get("metrics", name)()
    twins = twins or attempts
    for start in range(0, len(attempts), batch):
        metric.update(attempts[start : start + batch], twins[start : start + batch])
    return metric.compute()


@pytest.mark.parametrize("name", ["reference_fid", "reference_kid"])
def test_distances_tell_faithful_pictures_from_others(name: str, drawn: dict[str, list[Attempt]]) -> None:
    faithful, blurred, ghosts = (_measure(name, drawn[what]) for what in ("faithful", "blurred", "ghosts"))
    assert faithful.low <= faithful.value <= faithful.high
    assert faithful.high < min(blurred.low, ghosts.low)


@pytest.mark.parametrize("name", ["reference_fid", "reference_kid", "perceptual_drift"])
def test_batching_and_order_do_not_matter(name: str, drawn: dict[str, list[Attempt]]) -> None:
    ours, twins = drawn["blurred"], drawn["faithful"]
    whole = _measure(name, ours, twins)
    assert repr(_measure(name, ours, twins, batch=5)) == repr(whole)
    assert repr(_measure(name, ours[::-1], twins[::-1], batch=7)) == repr(whole)


def test_prompts_of_another_world_have_no_say_and_lost_pictures_are_unscored(drawn: dict[str, list[Attempt]]) -> None:
    one, two, three = drawn["faithful"][:3]
    foreign = replace(one, prompt=replace(one.prompt, objects=()))
    estimate = _measure("reference_fid", [foreign, replace(two, image=None), three])
    assert (estimate.n, estimate.n_unscored) == (1, 1)
    assert np.isnan(estimate.value)
    unknown = replace(one, prompt=replace(one.prompt, objects=("tench",)))
    for name in ("reference_fid", "reference_clip_score"):
        estimate = _measure(name, [foreign, unknown])
        assert (estimate.n, estimate.n_unscored) == (0, 0)


def test_perceptual_drift_is_the_networks_distance(drawn: dict[str, list[Attempt]]) -> None:
    one, other = drawn["blurred"][0], drawn["faithful"][0]
    pair = []
    for attempt in (one, other):
        assert attempt.image is not None
        with Image.open(attempt.image) as image:
            pair.append(torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 127.5 - 1)
    with torch.no_grad():
        expected = load_features().distance(*pair).item()
    assert _measure("perceptual_drift", [one], [other]).value == pytest.approx(expected, rel=1e-5)
    assert _measure("perceptual_drift", [one], [one]).value == 0


def test_distances_name_their_network_and_what_they_compare_with() -> None:
    settings = registry.get("metrics", "reference_fid")().settings
    assert settings["features"].startswith("features ")
    assert settings["against"] == "renders of the same scenes"


def test_lpips_hands_its_network_pictures_in_0_to_1(drawn: dict[str, list[Attempt]]) -> None:
    seen = []

    def distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        seen.extend([one, other])
        return (one - other).abs().mean()

    metric = LPIPS(distance)
    metric.update(drawn["blurred"][:1], drawn["faithful"][:1])
    metric.update([replace(drawn["blurred"][1], image=None)], drawn["faithful"][1:2])
    assert [tuple(image.shape) for image in seen] == [(1, 3, 48, 48)] * 2
    assert all(0 <= image.min() < image.max() <= 1 for image in seen)
    assert metric.compute().value == pytest.approx((seen[0] - seen[1]).abs().mean().item())
    assert metric.n_unscored == 1


def test_lpips_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(ConfigError, match=r"stanchion\[lpips\]"):
        LPIPS()
