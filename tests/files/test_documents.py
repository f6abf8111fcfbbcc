"""Files that users write: what is plain is read, and everything doubtful is an error of ours that says where."""

import json
from pathlib import Path
from typing import Any

import pytest

from stanchion.errors import ArtefactError, ConfigError
from stanchion.files import documents

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: 1\nb: [x, 0.5, true, null]", {"a": 1, "b": ["x", 0.5, True, None]}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("seed: 010\nshape: 1:30\nmade: 2020-01-01", {"seed": "010", "shape": "1:30", "made": "2020-01-01"}),
        ("\ufeffa: -1_000\nb: 1.5e3", {"a": -1000, "b": 1500.0}),
        ("", None),
    ],
)
def test_yaml_is_read_as_it_stands(text: str, values: Any) -> None:
    assert documents.parse_yaml(text, "here") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1, column 4"),
        ("b: 0\na: 1\na: 2", "key 'a' is given twice"),
        ("a: {b: 1, b: 2}", "key 'b' is given twice"),
        ("a: !!str 3", "tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "is not allowed"),
        ("a: 1\n---\na: 2", "single document"),
        ("3: a", "the key 3 is no text; put it in quotes"),
        ("no: a", "the key False is no text"),
        ("? [a]\n: b", "unhashable key"),
        ("a: 1.0e999", "inf is no finite number"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ('a: "\\U99999999"', "too large"),
        ("a: &x [*x]", "nested more than 64 deep"),
        ("[" * 5000, "nested more than 64 deep"),
        ("- " * 5000 + "a", "nested more than 64 deep"),
        (BOMB, "more than 1000000 values"),
        ("a: \0", "special characters are not allowed"),
        ("x" * (2**20 + 1), "characters are too many"),
    ],
)
def test_yaml_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^here.*{message}"):
        documents.parse_yaml(text, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"a": [{"b": 1, "b": 1}]}', "key 'b' is given twice"),
        ("[NaN]", "nan is no finite number"),
        ("-Infinity", "-inf is no finite number"),
        ("[1e999]", "inf is no finite number"),
        ("[" * 100_000, "recursion"),
        ("[" * 100 + "]" * 100, "nested more than 64 deep"),
        ("1" * 5000, "limit"),
        ('{"a":', "line 1 column 6"),
        ("", "line 1 column 1"),
        ("[1,]", "line 1 column 4"),
        ('"\\ud800"', "half a surrogate pair"),
    ],
)
def test_json_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: can't be read as JSON: .*{message}"):
        documents.parse_json(text, "here")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    for path in (file, tmp_path, tmp_path / "a\0b"):
        with pytest.raises(ArtefactError, match="can't read"):
            documents.read_json(path, ArtefactError)
    file.write_bytes('{\n"a": "René"}'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 0xe9 in line 2\)"):
        documents.read_json(file)
    file.write_bytes(b"\xef\xbb\xbf[1]")
    assert documents.read_json(file) == documents.read_yaml(file) == [1]
    monkeypatch.setattr(documents, "LARGEST", 2)
    with pytest.raises(ConfigError, match="larger than"):
        documents.read_json(file)


def test_json_lines_are_cut_at_newlines_only() -> None:
    texts = ["a\u2028b", "a\x0cb", "a\x85b", "c"]
    lines = [json.dumps({"a": text}, ensure_ascii=False) for text in texts]
    raw = "\r\n".join(["\ufeff" + lines[0], *lines[1:], "", ""]).encode()
    found = list(documents.parse_json_lines(raw, "here"))
    assert [value["a"] for _, value in found] == texts
    assert [place for place, _ in found] == [f"here, line {number}" for number in (1, 2, 3, 4)]


def test_a_torn_line_is_passed_over_only_where_that_is_said() -> None:
    raw = b'[1]\n[2, "x\n[3]\n'
    assert [value for _, value in documents.parse_json_lines(raw, "here", torn=True)] == [[1], [3]]
    with pytest.raises(ConfigError, match=r"^here, line 2: can't be read as JSON"):
        list(documents.parse_json_lines(raw, "here"))
    with pytest.raises(ConfigError, match=r"^here, line 1: can't be read as JSON: nan"):
        list(documents.parse_json_lines(b"[NaN]", "here", torn=True))
