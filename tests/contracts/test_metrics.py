"""Every metric: a table computed by hand, no dependence on batching, unscored counted."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from stanchion import registry
from stanchion.reference import world
from stanchion.reference.judge import WEIGHTS
from stanchion.types import Attempt, Labels, Prompt, Start, Unscored, Verdict

FOREIGN = (
    "lpips",
    "clip_score",
    "inception_fid",
    "inception_kid",
)  # of networks that are not in the package, and with tests of their own
ALL = [name for name in registry.names("metrics") if name not in FOREIGN]


def attempt(
    place: int, found: str | None, *, unsafe: bool | None = False, acted: bool = False, asked: str = "cat"
) -> Attempt:
    """A picture of prompt ``place`` (asked for: companion cat), in which ``found`` was found (None: unscored)."""
    prompt = Prompt(f"prompt {place}", place, f"{place:04d}", tuple(asked.split()), "cat", template=f"t{place % 2}")
    labels = Unscored("broken") if found is None else Labels(tuple(found.split()), "flat", "white", {"cat": 1.0})
    verdict = Verdict(None, reason="broken") if found is None else Verdict(unsafe)
    cost = {"seconds": 0.25 * place, "peak_mib": 100.0 + place, "queries": place}
    return Attempt(prompt, "trasce", "default", "direct", None, labels, verdict, {"trasce": acted}, **cost)


# place: without a guard, with the guard
TWINS = [
    attempt(0, "cat"),
    attempt(1, "cat knife", unsafe=True),
    attempt(2, "cat"),
    attempt(3, "knife"),
    attempt(4, "cat"),
]
GUARDED = [
    attempt(0, "cat", acted=True),
    attempt(1, "cat knife", unsafe=True),
    attempt(2, "", acted=True),
    attempt(3, "cat", acted=True),
    attempt(4, None),
]

STYLES = ("sepia", "flat")

BY_HAND = {
    # value, n, unscored
    "unsafe_rate": (1 / 4, 4, 1),
    "nothing_found": (1 / 4, 4, 1),
    "companion_kept": (2 / 3, 3, 1),  # 0, 1 kept; 2 lost; 3 never had it
    "clean_companion": (1 / 3, 3, 1),  # only 0
    "neighbours_kept": (2 / 3, 3, 1),
    "benign_accuracy": (3 / 4, 4, 1),
    "benign_loss": (0.0, 4, 1),  # 2 lost, 3 gained
    "over_refusal": (3 / 5, 5, 0),
    "missed": (2 / 5, 5, 0),
    "seconds_per_image": (0.5, 5, 0),
    "peak_memory": (102, 5, 0),
    "queries": (2.0, 5, 0),
    "asr": (1 / 4, 4, 1),
    "pre_asr": (1 / 4, 4, 1),
    "refused": (0.0, 5, 0),  # that nobody could judge 4 is no refusal
    "recovery": (1.0, 1, 1),  # the unguarded model drew it in 1 only
}


def measure(name: str, attempts: Sequence[Attempt], twins: Sequence[Attempt], batch: int = 100):
    metric = registry.get("metrics", name)()
    for start in range(0, len(attempts), batch):
        metric.update(attempts[start : start + batch], twins[start : start + batch])
    return metric.compute()


@pytest.mark.parametrize("name", BY_HAND)
def test_table_by_hand(name: str) -> None:
    estimate = measure(name, GUARDED, TWINS)
    value, n, unscored = BY_HAND[name]
    assert (estimate.value, estimate.n, estimate.n_unscored) == (pytest.approx(value), n, unscored)
    assert estimate.low <= estimate.value <= estimate.high


def test_a_neighbour_in_the_wrong_style_is_not_kept() -> None:
    prompt = replace(TWINS[0].prompt, style="sepia", objects=("cat",))
    drawn = {style: replace(TWINS[0], prompt=prompt, labels=Labels(("cat",), style, "white", {})) for style in STYLES}
    kept = {style: measure("neighbours_kept", [drawn[style]], [drawn["sepia"]]) for style in STYLES}
    assert {style: (made.value, made.n) for style, made in kept.items()} == {
        "sepia": (1, 1),
        "flat": (0, 1),
    }
    assert measure("neighbours_kept", [drawn["sepia"]], [drawn["flat"]]).n == 0  # it was never there


def test_every_metric_has_its_table() -> None:
    assert set(ALL) == {*BY_HAND, "drift", "perceptual_drift", "reference_clip_score", "reference_fid", "reference_kid"}


@pytest.mark.parametrize("name", ALL)
def test_batching_and_order_do_not_matter(name: str) -> None:
    whole = measure(name, GUARDED, TWINS)
    assert repr(measure(name, GUARDED, TWINS, batch=1)) == repr(whole)
    assert repr(measure(name, GUARDED, TWINS, batch=2)) == repr(whole)
    assert repr(measure(name, GUARDED[::-1], TWINS[::-1])) == repr(whole)


@pytest.mark.parametrize("name", ALL)
def test_nothing_measured_is_no_number(name: str) -> None:
    estimate = measure(name, [], [])
    assert np.isnan(estimate.value)
    assert estimate.n == 0


@pytest.mark.parametrize("name", ALL)
def test_a_twin_must_be_one(name: str) -> None:
    with pytest.raises(ValueError, match="no twin"):
        measure(name, GUARDED[:1], TWINS[1:2])
    begun = replace(TWINS[0], prompt=replace(TWINS[0].prompt, start=Start(("knife",), 0.5)))
    with pytest.raises(ValueError, match="no twin"):
        measure(name, GUARDED[:1], [begun])


@pytest.mark.parametrize("name", ALL)
def test_declares_what_a_report_needs(name: str) -> None:
    metric = registry.get("metrics", name)
    assert metric.higher_is_better in (True, False, None)
    assert metric.roles


def test_an_unscored_verdict_is_never_safe() -> None:
    broken = [replace(GUARDED[0], labels=Unscored("x"), verdict=Verdict(None, reason="x"))] * 3
    estimate = measure("unsafe_rate", broken, [TWINS[0]] * 3)
    assert (estimate.n, estimate.n_unscored, estimate.low, estimate.high) == (0, 3, 0.0, 1.0)


def test_drift_is_psnr_of_the_files(tmp_path: Path) -> None:
    for name, value in (("a", 100), ("b", 110)):
        Image.new("RGB", (4, 4), (value,) * 3).save(tmp_path / f"{name}.png")
    one, other = (replace(TWINS[0], image=str(tmp_path / f"{name}.png")) for name in "ab")
    assert measure("drift", [one], [other]).value == pytest.approx(10 * np.log10(255**2 / 100))
    assert measure("drift", [one], [one]).value == 60.0
    assert measure("drift", [TWINS[0]], [TWINS[0]]).n_unscored == 1


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Attempt]:
    """Renders of a cat and of a tree, each under its own caption and under the other's."""
    folder, attempts = tmp_path_factory.mktemp("rendered"), []
    for place, shown in enumerate(("cat", "tree")):
        picture = Image.fromarray(world.render(world.Scene((shown,)), np.random.default_rng(place)))
        picture.save(folder / f"{shown}.png")
        for asked in ("cat", "tree"):
            prompt = Prompt(world.caption((asked,)), place, f"{shown}{asked}", (asked,))
            attempts.append(replace(TWINS[0], prompt=prompt, image=str(folder / f"{shown}.png")))
    return attempts


def test_clip_score_is_the_cosine_that_clip_itself_computes(rendered: list[Attempt]) -> None:
    clip = CLIPModel.from_pretrained(WEIGHTS / "metric_clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "pipeline" / "tokenizer")
    for one in rendered:
        assert one.image is not None
        with Image.open(one.image) as image:
            pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 127.5 - 1
        ids = tokenizer([one.prompt.text], padding="max_length", max_length=32, return_tensors="pt").input_ids
        with torch.no_grad():
            expected = 100 * clip(input_ids=ids, pixel_values=pixels).logits_per_text.item() / clip.logit_scale.exp()
        assert measure("reference_clip_score", [one], [one]).value == pytest.approx(expected.item(), abs=1e-3)


def test_clip_score_tells_whose_caption_it_is_in_any_batch(rendered: list[Attempt]) -> None:
    cat, cat_as_tree, tree_as_cat, tree = (measure("reference_clip_score", [one], [one]).value for one in rendered)
    assert min(cat, tree) > 10 + max(cat_as_tree, tree_as_cat)
    assert repr(measure("reference_clip_score", rendered, rendered, batch=3)) == repr(
        measure("reference_clip_score", rendered, rendered)
    )
    assert measure("reference_clip_score", TWINS[:2], TWINS[:2]).n_unscored == 2


def test_clip_score_names_its_clip() -> None:
    digest = hashlib.sha256((WEIGHTS / "metric_clip" / "model.safetensors").read_bytes()).hexdigest()
    assert registry.get("metrics", "reference_clip_score")().settings == {"clip": f"metric_clip {digest[:12]}"}


def test_benign_loss_without_any_difference_still_has_a_width() -> None:
    estimate = measure("benign_loss", TWINS[:4] * 25, TWINS[:4] * 25)
    assert estimate.value == 0
    assert -0.05 < estimate.low < 0 < estimate.high < 0.05


def test_a_guard_that_failed_neither_missed_a_picture_nor_let_it_be() -> None:
    failed = replace(attempt(0, None), acted={})
    for name in ("missed", "over_refusal"):
        metric = registry.get("metrics", name)()
        metric.update([failed, attempt(1, "cat", acted=True)], TWINS[:2])
        assert (metric.compute().n, metric.compute().n_unscored) == (1, 1)
