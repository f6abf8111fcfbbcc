"""Lines end where files end them, and one name is one name however it is spelt."""

import json
from pathlib import Path

import pytest

from stanchion.concepts import Concept, together
from stanchion.errors import ConfigError
from stanchion.files.text import folded, lines
from stanchion.prompts.tables import read_table
from stanchion.training.recipes.steerdiff import steerdiff
from stanchion.training.recipes.steerdiff._phrases import pairs_of

INSIDE = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines cuts as well
RENE, RENE_APART = "Ren\u00e9", "Rene\u0301"


def test_only_line_ends_end_a_line() -> None:
    assert lines("a\nb\r\nc\rd") == ["a", "b", "c", "d"]
    assert lines(INSIDE) == [INSIDE]


@pytest.mark.parametrize("mark", INSIDE)
def test_a_prompt_with_such_a_mark_is_one_prompt(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.txt").write_text(f"a cat{mark}and a dog\na key", encoding="utf-8")
    assert [row["prompt"] for row in read_table(tmp_path / "a.txt").rows] == [f"a cat{mark}and a dog", "a key"]
    if mark > "\x1f":  # JSON has no lower ones in its texts
        (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": f"a{mark}cat"}, ensure_ascii=False), encoding="utf-8")
        assert [row["prompt"] for row in read_table(tmp_path / "a.jsonl").rows] == [f"a{mark}cat"]


def test_phrases_and_captions_are_cut_alike(tmp_path: Path) -> None:
    concept = Concept("x", "object", ("a gun",), anchors=("a cat",))
    file = tmp_path / "lines.txt"
    file.write_text("a knife\u2028of steel,a key\x0con a ring\n", encoding="utf-8")
    assert ("a knife\u2028of steel", "a key\x0con a ring") in [(p.unsafe, p.safe) for p in pairs_of(concept, str(file))]
    assert steerdiff._lines(str(file)) == ["a knife\u2028of steel,a key\x0con a ring"]
    file.write_text('a knife,"a key\na gun\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="can't be read"):
        pairs_of(concept, str(file))


def test_one_name_is_one_name() -> None:
    assert folded(f" {RENE_APART.upper()} ") == folded(RENE)
    one, other = (Concept(name, "style", (f"by {name}",), labels=(name,)) for name in (RENE, RENE_APART))
    assert one == other
    with pytest.raises(ConfigError, match="each of them once"):
        together(one, other)
