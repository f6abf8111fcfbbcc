"""Guards by name, from a folder, or from the Hub: which one comes, with which settings, and what is refused."""

import json
import socket
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from closeness import same_bits
from small_guards import Half
from stanchion import GuardStack, load_guard, load_stack, registry
from stanchion.concepts import load_concept
from stanchion.errors import ArtefactError, ConfigError, UnknownName
from stanchion.guards import loading
from stanchion.guards.loading import stack_of
from stanchion.stacks.base import spelled_out


class Learnt(Half):
    """A guard that needs training."""

    name = "learnt"
    trained = True

    def __init__(self, concept: Any, **values: Any) -> None:
        super(Half.__mro__[1], self).__init__(concept, **values)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Learnt is registered, and ships with a package whose artefacts lie in this folder."""
    point = EntryPoint("learnt", f"{__name__}:Learnt", "stanchion.guards")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Learnt)
    monkeypatch.setattr(registry, "installed", lambda group: [point] if group == "stanchion.guards" else [])
    monkeypatch.setattr(loading, "SHIPPED", tmp_path)
    Learnt("weapons", tensors={"w": torch.ones(2)}, base={"text_encoder": "00 11"}).save(tmp_path / "learnt-weapons")
    return tmp_path


def test_a_trained_guard_comes_with_the_package_for_the_concept_it_was_trained_for(shipped: Path) -> None:
    guard = load_guard("learnt", concept="weapons")
    assert isinstance(guard, Learnt)
    assert same_bits(guard.tensors["w"], torch.ones(2))


@pytest.mark.parametrize("concept", ["banana", load_concept("weapons", targets=("a spear",))])
def test_for_another_concept_it_must_be_trained_first(shipped: Path, concept: Any) -> None:
    """Also for one that only bears the same name."""
    with pytest.raises(ConfigError, match="must be trained for a concept and a model: run 'stanchion train learnt"):
        load_guard("learnt", concept=concept)


def test_settings_replace_the_saved_ones(tmp_path: Path) -> None:
    load_guard("trasce", concept="ink", lazy_tol=0.5, localized=False).save(tmp_path)
    guard = load_guard(tmp_path, lazy_tol=0.25)
    assert not isinstance(guard, GuardStack)
    assert (guard.settings.lazy_tol, guard.settings.localized) == (0.25, False)
    assert guard.concept == load_concept("ink")
    with pytest.raises(ConfigError, match="unknown key 'lasy_tol'; did you mean lazy_tol"):
        load_guard(tmp_path, lasy_tol=0.25)


def test_a_saved_guard_has_its_own_concept_and_a_named_one_needs_one(tmp_path: Path) -> None:
    load_guard("trasce", concept="ink").save(tmp_path)
    with pytest.raises(ConfigError, match="has its own concept; leave this one out"):
        load_guard(tmp_path, concept="weapons")
    with pytest.raises(ConfigError, match="say what it guards against"):
        load_guard("trasce")


def test_a_saved_stack_comes_back_whole_and_takes_no_settings(shipped: Path, tmp_path: Path) -> None:
    stack = GuardStack(load_guard("trasce", concept="ink"), load_guard("learnt", concept="weapons"))
    stack.save(tmp_path / "stack")
    loaded = load_guard(tmp_path / "stack")
    assert isinstance(loaded, GuardStack)
    assert [guard.identity for guard in loaded.guards] == [guard.identity for guard in stack.guards]
    with pytest.raises(ConfigError, match="holds a stack; settings can't be given"):
        load_guard(tmp_path / "stack", lazy_tol=0.5)


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"schema": 99, "guard": "trasce"})])
def test_a_folder_that_holds_no_guard_is_refused(tmp_path: Path, content: str) -> None:
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"config\.json"):
        load_guard(tmp_path)


def test_a_misspelt_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown guard 'trase'; did you mean trasce"):
        load_guard("trase", concept="weapons")


@pytest.mark.parametrize("source", [None, 3, ["trasce"], b"trasce"])
def test_what_is_no_name_is_said_to_be_none(source: Any) -> None:
    with pytest.raises(ConfigError, match="load_guard takes a guard's name, a folder or an id on the Hub, not "):
        load_guard(source, concept="weapons")


@pytest.mark.parametrize("concept", [3, ["weapons"], 0.5])
def test_what_is_no_concept_is_said_to_be_none(concept: Any) -> None:
    with pytest.raises(ConfigError, match="give a built-in name, a YAML file, plain values or a Concept"):
        load_guard("trasce", concept=concept)
    with pytest.raises(ConfigError, match="give a built-in name"):
        load_stack("fast", concept=concept)


def test_a_stack_is_made_of_guards() -> None:
    guard = load_guard("trasce", concept="weapons")
    for given in ([guard], "trasce", None, GuardStack(guard)):
        with pytest.raises(ConfigError, match="GuardStack takes guards, each by itself, not "):
            GuardStack(guard, given)  # type: ignore[arg-type]


def test_what_the_hub_does_not_give_is_an_unknown_name_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, as tests are, nobody is asked, and so nobody is waited for or asked again."""
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args) or [])
    with pytest.raises(UnknownName, match="no guard, no folder and nothing to be had from the Hub at 'nobody/nothing'"):
        load_guard("nobody/nothing")
    assert not asked


def test_a_guard_made_for_other_weights_does_not_attach(shipped: Path) -> None:
    guard = Learnt("weapons", tensors={"w": torch.ones(2)}, base={"text_encoder": "00 11"})
    with pytest.raises(ArtefactError):
        guard.attach(tiny.pipeline())


@pytest.mark.parametrize("name", registry.names("stacks"))
def test_a_stack_by_name_is_its_guards_as_it_sets_them(name: str) -> None:
    stack, parts = load_stack(name, concept="weapons"), registry.get("stacks", name).guards
    assert [guard.name for guard in stack.guards] == list(parts)  # in the order of their stages
    for guard in stack.guards:
        assert parts[guard.name].items() <= vars(guard.settings).items()


def test_what_of_a_stack_must_be_trained_is_said() -> None:
    with pytest.raises(
        ConfigError, match="forceforget and monitor must be trained for horror: run 'stanchion train recommended"
    ):
        load_stack("recommended", concept="horror")
    with pytest.raises(UnknownName, match="unknown stack 'fats'; did you mean fast"):
        load_stack("fats", concept="weapons")


def test_a_stack_is_no_guard_and_what_loads_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="'fast' is a stack and no single guard: load_stack"):
        load_guard("fast", concept="weapons")
    load_guard("safree", concept="horror").save(tmp_path / "fast")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match=r"a folder of that name is '\./fast'"):
        load_guard("fast")
    assert load_guard("./fast").name == "safree"


def test_a_stack_s_name_stands_for_its_guards_and_what_is_given_counts_first() -> None:
    assert spelled_out(["recommended"], {"forceforget": {"scale": 0.5}, "trasce": {}}) == {
        "steerdiff": {},
        "forceforget": {"when": "flagged_or_monitor", "scale": 0.5},
        "monitor": {},
    }
    twice = spelled_out(["forceforget", "recommended", "picture_check"], {"forceforget": {"when": "always"}})
    assert list(twice) == ["forceforget", "steerdiff", "monitor", "picture_check"]
    assert twice["forceforget"] == {"when": "always"}
    stack = stack_of(["maximum", "picture_check"], load_concept("weapons"), {"steerdiff": {"eps": 0.5}})
    assert stack.name == "steerdiff+monitor+patronus_moderator+picture_check"
    assert (stack.guards[0].settings.eps, stack.guards[2].settings.compare) == (0.5, "stock")
