"""What eval-unlearn calls: entry points, a technique, prompts, a metric. examples/eval_unlearn runs its runner."""

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import stanchion.integrations.eval_unlearn.technique as bridge
import tiny
from stanchion.errors import ConfigError, GuardFailed, PromptRefused
from stanchion.integrations.eval_unlearn.metric import JudgedUnsafeRate
from stanchion.integrations.eval_unlearn.prompts import load_prompts
from stanchion.integrations.eval_unlearn.technique import GuardedTechnique

TEXTS = ["a photo of a knife", "a photo of a cat", "a gun", "a red car", "a dog"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "load_pipeline", lambda model, device=None: tiny.pipeline())


def technique(**values: Any) -> GuardedTechnique:
    return GuardedTechnique(
        **{"erase_concept": "weapons", "guard": "negative_prompt", "num_inference_steps": 2, **values}
    )


def pixels(pictures: list[Any]) -> list[bytes]:
    return [picture.tobytes() for picture in pictures]


def test_the_harness_finds_the_three_of_them() -> None:
    points = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
    found = {group: value for group, values in points.items() for value in values.values()}
    assert set(found) == {f"eval_unlearn.{kind}" for kind in ("techniques", "metrics", "datasets")}
    for value in found.values():
        module, _, name = value.partition(":")
        assert callable(getattr(import_module(module), name))


def test_pictures_are_guarded_and_do_not_depend_on_the_harness_s_batches() -> None:
    whole = pixels(technique(batch=1).generate(TEXTS, seed=3))
    parts = technique(batch=1)
    assert pixels(parts.generate(TEXTS[:2], seed=3)) + pixels(parts.generate(TEXTS[2:], seed=3)) == whole
    assert pixels(technique(guard="none", batch=1).generate(TEXTS, seed=3)) != whole


def test_without_a_seed_it_is_the_settings_own() -> None:
    assert pixels(technique(seed=5).generate(TEXTS[:2])) == pixels(technique().generate(TEXTS[:2], seed=5))
    assert pixels(technique().generate(TEXTS[:2])) != pixels(technique().generate(TEXTS[:2], seed=5))


def test_several_guards_and_their_settings() -> None:
    one = technique(guard="safree, sld", settings={"sld": {"preset": "weak"}})
    assert one.attachment is not None and [guard.name for guard in one.attachment.guards] == ["safree", "sld"]
    assert one.attachment.guards[1].settings.preset == "weak"


def test_a_prompt_without_a_picture_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = technique(guard="none")
    monkeypatch.setattr(one.pipeline, "safety_checker", lambda images, **_: (images, [True] * len(images)))
    monkeypatch.setattr(one.pipeline, "feature_extractor", lambda *_, **__: tiny_inputs())
    with pytest.raises(GuardFailed, match=r"1 of 1 pictures .* safety checker withheld"):
        one.generate(["a cat"])
    with pytest.raises(PromptRefused):
        one.generate(["a cat", "a naked child"])


def tiny_inputs() -> Any:
    class Inputs:
        pixel_values = None

        def to(self, *_: Any) -> Any:
            import torch

            self.pixel_values = torch.zeros(1)
            return self

    return Inputs()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gaurd": "sld"}, "technique.config: unknown key 'gaurd'; did you mean guard"),
        ({"guard": "slf"}, "unknown guard 'slf'"),
        ({"settings": {"trasce": {}}}, "settings of trasce, but the guards are negative_prompt"),
        ({"guard": "none, sld"}, "unknown guard 'none'"),
    ],
)
def test_mistakes_show_before_anything_is_drawn(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        technique(**wrong)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "target.csv").write_text("prompt\n" + "a knife\n" * 3 + "a naked child\n")
    (tmp_path / "retain.csv").write_text("prompt,object\n" + "a cat,cat\n" * 2 + "a thing,\n")
    return {"target_prompts_path": str(tmp_path / "target.csv"), "retain_prompts_path": str(tmp_path / "retain.csv")}


def test_every_row_says_what_it_is(files: dict[str, str]) -> None:
    batches = load_prompts(concept="weapons", batch_size=4, **files)
    assert [len(batch.prompts) for batch in batches] == [4, 2]
    assert [batch.metadata["categories"] for batch in batches] == [["target"] * 3 + ["retain"], ["retain"] * 2]
    assert [batch.metadata["objects"] for batch in batches] == [["", "", "", "cat"], ["cat", ""]]
    assert batches[0].metadata["skipped"] == 1


@pytest.mark.parametrize("batch_size", [1, 2, 4, 32])
def test_no_number_depends_on_the_batches(files: dict[str, str], batch_size: int) -> None:
    """The harness's own metric splits every batch where the whole file is to be split."""
    metric = JudgedUnsafeRate(concept_name="weapons", batch_size=batch_size, judge="always_unsafe", **files)
    for batch in metric.load_dataset():
        metric.update([Image.new("RGB", (16, 16))] * len(batch.prompts), batch.prompts, batch.metadata)
    result = metric.compute()
    assert (result.name, result.value) == ("unsafe_rate", 1.0)
    assert [result.details[name]["n"] for name in ("unsafe", "retain_unsafe")] == [3, 3]
    assert metric.compute() == result


def test_what_the_judge_can_not_read_is_not_safe(files: dict[str, str]) -> None:
    metric = JudgedUnsafeRate(concept_name="weapons", judge="always_safe", **files)
    (batch,) = metric.load_dataset()
    metric.update([Image.new("RGB", (4, 4))] * len(batch.prompts), batch.prompts, batch.metadata)
    result = metric.compute()
    assert result.value is None
    assert result.details["unsafe"]["n_unscored"] == 3 and result.details["unsafe"]["n"] == 0
    assert "show nothing" in result.details["unsafe"]["unscored_because"][0]


def test_a_prompt_without_a_picture_is_an_error(files: dict[str, str]) -> None:
    metric = JudgedUnsafeRate(concept_name="weapons", judge="always_safe", **files)
    (batch,) = metric.load_dataset()
    with pytest.raises(ConfigError, match="5 pictures for 6 prompts"):
        metric.update([Image.new("RGB", (16, 16))] * 5, batch.prompts, batch.metadata)
