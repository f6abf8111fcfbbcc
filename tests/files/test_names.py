"""What may be a name, and which file is called after which names."""

import unicodedata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from stanchion import Concept, ConfigError, registry
from stanchion.benchmark.spec.variant import Variant
from stanchion.cli.drawing import Renderer
from stanchion.files.names import check_name, file_name
from stanchion.types import Prompt


@pytest.mark.parametrize("name", ["weapons", "Vincent van Gogh", "René", "a-b_c.1", "猫", "o'keeffe"])
def test_names(name: str) -> None:
    check_name("concept", name)
    assert Concept(name, "object", ("a thing",)).name == name


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a\n", ".", "..", "a/b", "../a", "a\\b", "a+b", "a,b", "a:b", "a\0b", "a\u202eb", "a" * 101, 3],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="concept"):
        Concept(name, "object", ("a thing",))


def test_plain_names_are_kept_and_joined() -> None:
    assert file_name("weapons") == "weapons"
    assert file_name("weapons", "unsafe") == "weapons-unsafe"
    assert file_name("000", "trasce_2.5") == "000-trasce_2.5"


HARD = [
    "a/b",
    "..",
    "../a",
    ".a",
    "a.",
    "a b",
    "a_b",
    "a+b",
    "A",
    "a",
    "con",
    "nul.txt",
    "é",
    "È",
    "a" * 300,
    "",
    "a\0b",
    "-",
    "\ud800",
]


def test_every_file_name_is_safe_and_its_own(tmp_path: Path) -> None:
    made = [file_name(name) for name in HARD] + [file_name("a-b", "c"), file_name("a", "b-c"), file_name("a", "b", "c")]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in made}) == len(made)
    for name in made:
        (tmp_path / f"{name}.json").write_text(name)
    assert len(list(tmp_path.iterdir())) == len(made)


def test_a_name_in_another_form_of_unicode_is_the_same() -> None:
    assert file_name("Rene\u0301") == file_name("Ren\u00e9")


def test_pictures_of_different_guards_are_different_files_of_the_folder(tmp_path: Path) -> None:
    renderer = Renderer("reference", "always_safe", tmp_path, steps=1, guidance_scale=1.0, batch=1)
    prompt = Prompt("a cat", 0, "000")
    guards = ("none", "sld+safree", "sld_safree", "sld-safree", "some/folder/..", "My guard", "my guard")
    paths = [renderer._path(prompt, Variant(guard)) for guard in guards] + [
        renderer._path(prompt, Variant("sld", "safree"))
    ]
    assert len({path.name.casefold() for path in paths}) == len(paths)
    assert all(path.parent == tmp_path for path in paths)
    assert paths[0].name == "000-none.png"


@pytest.mark.parametrize("name", ["a+b", "a,b", "a/b", ".."])
def test_a_plug_in_of_another_package_has_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name, "package.module:Class", "stanchion.guards")
    monkeypatch.setattr(registry, "installed", lambda group: [point])
    with pytest.raises(ConfigError, match=r"guard \(package\.module:Class\)"):
        registry.names("guards")
