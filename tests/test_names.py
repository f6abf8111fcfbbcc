"""What may be a name, and which file is called after which names."""

import unicodedata
from pathlib import Path

import pytest

from stanchion import Concept, ConfigError
from stanchion.names import check_name, file_name


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
