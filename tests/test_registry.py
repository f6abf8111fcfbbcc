"""The registry lists what lies in the folders, and knows no other way in."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from stanchion import load_guard, load_judge, registry
from stanchion.errors import ConfigError, UnknownName


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stage = tmp_path / "guards" / "trajectory"
    stage.mkdir(parents=True)
    for stem in ("base", "_shared", "__init__", "beta", "alpha"):
        (stage / f"{stem}.py").write_text(f'"""Guard {stem}.\n\nMore."""\nraise RuntimeError("imported")\n')
    (tmp_path / "guards" / "stack.py").write_text("")
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    return tmp_path


def test_names_are_the_files_of_the_folder_and_nothing_is_imported(house: Path) -> None:
    assert registry.names("guards") == ["alpha", "beta"]
    assert registry.names("attacks") == []


def test_an_entry_knows_its_folder_and_summary(house: Path) -> None:
    entry = registry.entries("guards")["alpha"]
    assert (entry.folder, entry.summary) == ("trajectory", "Guard alpha.")


def test_a_name_of_before_gives_the_one_of_now() -> None:
    with pytest.raises(UnknownName, match=r"unknown metric 'fid'; did you mean inception_fid or reference_fid\?"):
        registry.check("metrics", ["fid"])


def test_unknown_name_gives_the_nearest(house: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown guard 'alfa'; did you mean alpha\?"):
        registry.get("guards", "alfa")
    with pytest.raises(UnknownName, match="known are alpha, beta"):
        registry.get("guards", "zzz")
    with pytest.raises(UnknownName, match="did you mean guards"):
        registry.names("guard")


def test_entry_points_join_but_never_replace(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("gamma", "collections:OrderedDict", "stanchion.guards")]
    monkeypatch.setattr(registry, "installed", lambda group: points if group == "stanchion.guards" else [])
    assert registry.names("guards") == ["alpha", "beta", "gamma"]
    assert registry.get("guards", "gamma").__name__ == "OrderedDict"
    points.append(EntryPoint("alpha", "evil:Guard", "stanchion.guards"))
    with pytest.raises(ConfigError, match="two plug-ins are called 'alpha'"):
        registry.names("guards")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("collections:NoSuchClass", "has no attribute 'NoSuchClass'"),
        ("no_such_package.judge:Judge", "No module named 'no_such_package'"),
        ("collections", "is no class"),
        ("os:getcwd", "is no class"),
    ],
)
def test_an_entry_point_without_its_class_is_a_mistake_of_its_package(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in registry.FOLDERS:
        group = f"stanchion.{kind}"
        points = {group: [EntryPoint("gamma", value, group)]}
        monkeypatch.setattr(registry, "installed", lambda group, points=points: points.get(group, []))
        with pytest.raises(ConfigError, match=f"'gamma' .*{message}"):
            registry.get(kind, "gamma")


def test_a_class_that_is_no_judge_or_no_guard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        f"stanchion.{kind}": [EntryPoint("gamma", "collections:OrderedDict", kind)] for kind in ("judges", "guards")
    }
    monkeypatch.setattr(registry, "installed", lambda group: points.get(group, []))
    with pytest.raises(ConfigError, match="is no Judge"):
        load_judge("gamma")
    with pytest.raises(ConfigError, match="is no Guard"):
        load_guard("gamma", concept="weapons")


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_every_file_holds_a_class_of_its_name(kind: str) -> None:
    for name in registry.names(kind):
        assert registry.get(kind, name).name == name


def test_listing_loads_no_torch() -> None:
    code = "import sys; from stanchion import registry, config; registry.names('guards'); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
