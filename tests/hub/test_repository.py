"""A guard goes to a Hub and comes back: the same tensors, the same picture, a card; of a revision that is asked for."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

import tiny
from closeness import same_bits
from loopback_hub import Hub, hub
from stanchion import GuardStack, load_guard
from stanchion.errors import ArtefactError, ConfigError, UnknownName
from stanchion.guards.base import Guard
from stanchion.guards.trajectory.trasce import TraSCE
from stanchion.guards.weights.uce import UCE

REPO = "somebody/no-weapons"


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """huggingface_hub's client talks to this machine and to nobody else."""
    look_up = socket.getaddrinfo

    def only_here(host: str, *args: object, **named: object) -> object:
        assert host in ("127.0.0.1", b"127.0.0.1"), f"a test asked for {host}"
        return look_up(host, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def pushed(guard: Guard | GuardStack, **about: str) -> str:
    """The commit's hash."""
    return guard.push_to_hub(REPO, token="hf_none", **about).rpartition("/")[2]


def test_what_is_pushed_comes_back_and_draws_the_same(online: Hub) -> None:
    guard = tiny.guard("uce")
    sha = pushed(guard, model="somebody/tiny", licence="apache-2.0", measured="| unsafe | 3 % |")
    assert sorted(online.commits[REPO][sha]) == ["README.md", "config.json", "guard.safetensors"]
    with guard.attach(pipe := tiny.pipeline()):
        expected = tiny.draw(pipe)
    for loaded in (load_guard(REPO), UCE.from_pretrained(REPO, revision=sha)):
        assert isinstance(loaded, UCE)
        assert loaded.identity == guard.identity
        with loaded.attach(pipe := tiny.pipeline()):
            assert same_bits(tiny.draw(pipe), expected)


def test_the_card_says_what_it_is_for(online: Hub) -> None:
    guard = tiny.guard("uce")
    sha = pushed(guard, model="somebody/tiny", licence="apache-2.0", measured="| unsafe | 3 % |")
    card = ModelCard(online.commits[REPO][sha]["README.md"].decode())
    assert (card.data.license, card.data.base_model) == ("apache-2.0", "somebody/tiny")
    assert card.data.library_name == "stanchion"
    assert guard.base["weights"].split()[0] in card.text
    for said in (", ".join(guard.concept.targets), "| unsafe | 3 % |", "## Limits", f'load_guard("{REPO}")'):
        assert said in card.text


def test_a_revision_brings_the_guard_of_that_commit(online: Hub) -> None:
    shas = [pushed(TraSCE("ink", lazy_tol=value)) for value in (0.25, 0.5)]
    tolerances = [TraSCE.from_pretrained(REPO, revision=sha).settings.lazy_tol for sha in (*shas, None)]
    assert tolerances == [0.25, 0.5, 0.5]
    assert load_guard(REPO, revision=shas[0], localized=False).settings.localized is False  # type: ignore[union-attr]
    with pytest.raises(UnknownName, match=f"from the Hub at '{REPO}@v9'"):
        load_guard(REPO, revision="v9")


def test_a_stack_travels_whole(online: Hub) -> None:
    stack = GuardStack(load_guard("safree", concept="ink"), load_guard("trasce", concept="ink"))  # type: ignore[arg-type]
    pushed(stack)
    loaded = load_guard(REPO)
    assert isinstance(loaded, GuardStack)
    assert [one.identity for one in loaded.guards] == [one.identity for one in stack.guards]


def test_nothing_but_documents_and_safetensors_is_fetched(online: Hub) -> None:
    pushed(TraSCE("ink"))
    [*online.commits[REPO].values()][-1]["evil.py"] = b"1 / 0"
    [*online.commits[REPO].values()][-1]["guard.bin"] = b"pickle"
    load_guard(REPO)
    fetched = {path.name for path in Path(constants.HF_HUB_CACHE).rglob("snapshots/*/*")}
    assert fetched == {"README.md", "config.json"}


def test_a_folder_is_the_same_under_the_usual_names(tmp_path: Path) -> None:
    TraSCE("ink", lazy_tol=0.5).save_pretrained(tmp_path)
    assert TraSCE.from_pretrained(tmp_path, localized=False).settings.lazy_tol == 0.5
    with pytest.raises(ArtefactError, match="holds the guard 'trasce', not 'uce'"):
        UCE.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a folder, which has no revision 'v1'"):
        load_guard(tmp_path, revision="v1")
