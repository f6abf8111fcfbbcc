"""What ``save`` wrote is what ``load`` gives, or it is refused: no file of a guard is changed unnoticed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from closeness import same_bits
from stanchion import GuardStack, config, load_guard
from stanchion.errors import ArtefactError, ConfigError
from stanchion.files.tensors import load_checkpoint, sha256_of
from stanchion.guards.artefact import CONFIG, TENSORS
from stanchion.guards.loading import SHIPPED
from stanchion.guards.text.steerdiff import SteerDiff
from stanchion.guards.weights.uce import UCE
from stanchion.pipeline.model.base_weights import base_of
from stanchion.pipeline.release import release
from stanchion.training.recipes.patronus._feature_networks import vgg19

KEY = "unet.conv_in.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A guard that sets one convolution to ones."""
    weight = tiny.pipeline().unet.conv_in.weight.detach()
    UCE("banana", tensors={KEY: torch.ones_like(weight)}, base={"weights": base_of({KEY: weight})}).save(tmp_path)
    return tmp_path


def change(folder: Path, how: Callable[[dict[str, Any]], Any], sealed: bool = False) -> None:
    """Change the config by hand; ``sealed`` puts a right fingerprint under it."""
    values = json.loads((folder / CONFIG).read_text())
    how(values)
    if sealed:
        values["fingerprint"] = config.fingerprint(
            {key: value for key, value in values.items() if key not in ("schema", "fingerprint")}
        )
    (folder / CONFIG).write_text(json.dumps(values))


@pytest.mark.parametrize("shipped", sorted(SHIPPED.iterdir()), ids=lambda path: path.name)
def test_shipped_guards_load(shipped: Path) -> None:
    assert load_guard(shipped).name == shipped.name.partition("-")[0]


def test_there_and_back(folder: Path) -> None:
    guard = load_guard(folder)
    assert same_bits(guard.tensors[KEY], torch.ones_like(guard.tensors[KEY]))
    with guard.attach(pipe := tiny.pipeline()):
        assert pipe.unet.conv_in.weight.eq(1).all()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        lambda values: values.pop("base"),
        lambda values: values.update(base=None),
        lambda values: values.update(base={}),
        lambda values: values["base"].pop("weights"),
        lambda values: values["base"].update(weights=None),
        lambda values: values.pop("tensors"),
        lambda values: values.update(tensors=None),
        lambda values: values.update(tensors="0" * 64),
        lambda values: values.update(settings=None),
        lambda values: values.update(training=[1]),
        lambda values: values.update(extra=1),
        lambda values: values["concept"].update(targets="a banana"),
        lambda values: values["concept"].update(name="../banana"),
        lambda values: values.update(guard=None),
        lambda values: values.update(guard=["uce"]),
        lambda values: values.update(schema=1),
        lambda values: values.update(schema=None),
    ],
)
def test_a_config_that_was_changed(folder: Path, how: Callable[[dict[str, Any]], Any], sealed: bool) -> None:
    change(folder, how, sealed)
    with pytest.raises(ArtefactError):
        load_guard(folder)


@pytest.mark.parametrize(
    "how",
    [
        lambda values: values["concept"].update(targets=["a pizza"]),
        lambda values: values["base"].update(weights="0 0"),
        lambda values: values["training"].update(seed=1),
        lambda values: values.pop("fingerprint"),
    ],
)
def test_a_config_of_which_only_the_fingerprint_tells_that_it_was_changed(folder: Path, how: Any) -> None:
    change(folder, how)
    with pytest.raises(ArtefactError, match="was changed since the guard was saved"):
        load_guard(folder)


def test_a_guard_of_an_earlier_version_says_how_to_renew_it(folder: Path) -> None:
    change(folder, lambda values: values.update(schema=1))
    with pytest.raises(ArtefactError, match="stanchion train GUARD --concept"):
        load_guard(folder)


@pytest.mark.parametrize(
    "how",
    [
        lambda tensors: {key: torch.zeros_like(value) for key, value in tensors.items()},
        lambda tensors: {**tensors, "unet.conv_out.bias": torch.ones(4)},
        lambda tensors: {KEY: tensors[KEY].half()},
        lambda tensors: {KEY: tensors[KEY].flatten()},
        lambda tensors: {KEY: tensors[KEY] * torch.nan},
    ],
)
def test_other_tensors_are_not_those_that_were_saved(folder: Path, how: Any) -> None:
    save_file(how(load_file(folder / TENSORS)), folder / TENSORS)
    with pytest.raises(ArtefactError, match="is not the file that was saved"):
        load_guard(folder)


def test_tensors_that_are_missing_damaged_or_too_many(folder: Path) -> None:
    raw = (folder / TENSORS).read_bytes()
    for damaged in (raw[:-1], raw[:10], b""):
        (folder / TENSORS).write_bytes(damaged)
        with pytest.raises(ArtefactError):
            load_guard(folder)
        sha256 = sha256_of(folder / TENSORS)
        change(folder, lambda values, sha256=sha256: values.update(tensors=sha256), sealed=True)
        with pytest.raises(ArtefactError, match="damaged"):
            load_guard(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(ArtefactError, match="No such file"):
        load_guard(folder)
    load_guard("trasce", concept="ink").save(folder)
    (folder / TENSORS).write_bytes(raw)
    with pytest.raises(ArtefactError, match="separate folders"):
        load_guard(folder)


@pytest.mark.parametrize(
    "value", [torch.zeros(2), torch.tensor([1, torch.inf]), torch.tensor([torch.nan]), torch.ones(2).int()]
)
def test_tensors_that_no_training_makes_are_not_saved(tmp_path: Path, value: torch.Tensor) -> None:
    with pytest.raises(ArtefactError, match="guard 'uce'"):
        UCE("banana", tensors={KEY: value}, base={"weights": "0 0"}).save(tmp_path)


@pytest.mark.parametrize("name", ["steerdiff", "forceforget"])
def test_tensors_of_another_form_are_not_saved(tmp_path: Path, name: str) -> None:
    guard = load_guard(name, concept="banana")
    whole = dict(guard.tensors)
    for key, value in [*whole.items()][:4]:
        for other in (value[:-1], value.flatten()[0], torch.cat([value, value])):
            guard.tensors = {**whole, key: other}
            with pytest.raises(ArtefactError, match="train it again"):
                guard.save(tmp_path)
    guard.tensors = {**whole, "more.to_k.lora": torch.ones(2)}
    with pytest.raises(ArtefactError, match=r"more\.to_k\.lora is \(2,\), where none is wanted"):
        guard.save(tmp_path)


def test_without_a_base_no_guard_is_saved_or_attached(tmp_path: Path) -> None:
    guard = SteerDiff("banana", tensors=load_guard("steerdiff", concept="banana").tensors)
    with pytest.raises(ArtefactError, match="does not name text_encoder"):
        guard.save(tmp_path)
    with pytest.raises(ArtefactError, match="does not name text_encoder"):
        guard.attach(tiny.pipeline())


@pytest.mark.parametrize(
    "base", [{"text_encoder": "one"}, {"text_encoder": ""}, {"text_encoder": "a b", "prior": "a b"}]
)
def test_a_base_that_is_none(base: dict[str, str]) -> None:
    guard = SteerDiff("banana", tensors=load_guard("steerdiff", concept="banana").tensors, base=base)
    with pytest.raises(ArtefactError):
        guard.attach(tiny.pipeline())


def test_files_are_readable_by_whoever_may_read_the_folder(folder: Path, tmp_path: Path) -> None:
    for mode in (0o755, 0o700, 0o750):
        folder.chmod(mode)
        load_guard(folder).save(folder)
        assert (folder / TENSORS).stat().st_mode & 0o077 == mode & 0o066
    released = release(tiny.pipeline(), [load_guard(folder)], tmp_path / "released", model="tiny")
    for file in released.rglob("*.safetensors"):
        assert file.stat().st_mode & 0o077 == file.parent.stat().st_mode & 0o066


def test_a_stack_is_whole_or_refused(tmp_path: Path) -> None:
    GuardStack(load_guard("safree", concept="ink"), load_guard("trasce", concept="ink")).save(tmp_path)
    first, _ = json.loads((tmp_path / "stack.json").read_text())
    for names in ([first, "../x"], [first, "a/b"], [first, 3], [first, ".."], [], None, {"a": 1}, [first, "2-other"]):
        (tmp_path / "stack.json").write_text(json.dumps(names))
        with pytest.raises(ArtefactError if names != [] else ValueError):
            load_guard(tmp_path)
    (tmp_path / "stack.json").unlink()
    with pytest.raises(ArtefactError, match="saved again"):
        load_guard(tmp_path)


def test_checkpoints_and_networks_that_are_damaged(tmp_path: Path) -> None:
    for raw in (b"", b"PK", b"x" * 99):
        (tmp_path / "checkpoint.pt").write_bytes(raw)
        with pytest.raises(ConfigError, match="remove it, and what it holds is made again"):
            load_checkpoint(tmp_path / "checkpoint.pt")
        (tmp_path / "model.safetensors").write_bytes(raw)
        with pytest.raises(ConfigError, match="is damaged or can't be read"):
            vgg19(str(tmp_path))
