"""Records, rows, curves and candidates that were damaged or edited by hand: an error of ours that names the place."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stanchion.benchmark.results.row import Row, read_rows, write_rows
from stanchion.benchmark.spec.prompt_spec import load_spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store import candidates
from stanchion.benchmark.store.attempts import Store, StoredAttempt
from stanchion.benchmark.store.curve import CurvePoint
from stanchion.benchmark.store.lines import Lines
from stanchion.benchmark.store.manifest import stored_specs
from stanchion.errors import ConfigError
from stanchion.types import Adversarial, Attempt, Labels, LatentStart, Prompt, Verdict

LABELS = Labels(("knife",), "flat", None, {"knife": 0.75})
ATTEMPT = Attempt(Prompt("a knife", 3, "0003"), "trasce", "default", "direct", None, LABELS, Verdict(True, ("knife",)))
ROW = Row("sld", "default", "ink", "style", "unsafe", "asr", 0.5, 0.4, 0.6, 9, 1, "1-9", "j", "m", "c", "0", "cpu")


def line(folder: Path, how: Callable[[dict[str, Any]], Any] = lambda values: None) -> dict[str, Any]:
    """A record with one line, which is changed."""
    store = Store(folder)
    image = store.save_image("key", Image.new("RGB", (2, 2)))
    store.append([StoredAttempt("ink", "unsafe", "key", Attempt(**{**vars(ATTEMPT), "image": image}))])
    values = json.loads(store.path.read_text())
    how(values)
    store.path.write_text(json.dumps(values) + "\n")
    return values


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda v: v.update(image="../secret.png"), "image: '../secret.png' is no name of a file"),
        (lambda v: v.update(image="/etc/passwd"), "is no name of a file"),
        (lambda v: v.update(image=".."), "is no name of a file"),
        (lambda v: v.update(image=""), "is no name of a file"),
        (lambda v: v.update(image=3), "image: expected a str, got 3"),
        (lambda v: v.update(labels=None), "labels: expected keys and values"),
        (lambda v: v["labels"].update(objects="knife"), "labels"),
        (lambda v: v["labels"]["scores"].update(knife="high"), "labels"),
        (lambda v: v.update(verdict=[]), "verdict: expected keys and values"),
        (lambda v: v["verdict"].update(unsafe="no"), "verdict.unsafe: expected a bool"),
        (lambda v: v["verdict"].pop("found"), "verdict.found is missing"),
        (lambda v: v["prompt"].update(seed="3"), "prompt.seed: expected a int"),
        (lambda v: v["prompt"].update(seed=-1), "seed"),
        (lambda v: v["prompt"].update(start=[]), "prompt.start: expected keys and values"),
        (lambda v: v["prompt"].pop("companion"), "prompt.companion is missing"),
        (lambda v: v.update(acted=None), "acted: expected keys and values"),
        (lambda v: v.update(seconds="long"), "seconds: expected a float"),
        (lambda v: v.update(queries=None), "queries: expected a int"),
        (lambda v: v.pop("queries"), "queries is missing"),
        (lambda v: v.pop("picture"), "picture: expected a str, got None"),
        (lambda v: v.update(more=1), "unknown key 'more'"),
    ],
)
def test_a_line_of_a_record(tmp_path: Path, how: Callable[[dict[str, Any]], Any], message: str) -> None:
    line(tmp_path, how)
    with pytest.raises(ConfigError, match=rf"attempts\.jsonl, line 1: can't be read: .*{message}"):
        Store(tmp_path)


@pytest.mark.parametrize(
    "raw", [b"[]", b"3", b"null", b'"x"', b"\xff", b"{", b"[" * 99_999, b'{"a": NaN}', b'{"a":1,"a":2}']
)
def test_a_line_that_is_none(tmp_path: Path, raw: bytes) -> None:
    line(tmp_path)
    with Store(tmp_path).path.open("ab") as file:
        file.write(raw + b"\n")
    with pytest.raises(ConfigError, match=r"attempts\.jsonl, line 2"):
        Store(tmp_path)


def test_what_is_no_number_can_be_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(
        [StoredAttempt("ink", "unsafe", "key", Attempt(**{**vars(ATTEMPT), "adversarial": {"loss": float("nan")}}))]
    )
    found = Store(tmp_path).picture("key")
    assert found is not None and found.attempt.adversarial == {"loss": "nan"}


@pytest.mark.parametrize("text", ["", "{", "{}", "null", "[3]", "[{}]", "[null]", '[{"guard": 1}]', "[NaN]", "\u2028"])
def test_rows_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"rows\.json: can't be read as rows of results"):
        read_rows(file)


def test_a_row_that_was_changed(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    write_rows(file, [ROW])
    assert read_rows(file) == [ROW]
    for how in (lambda v: v.pop("settings"), lambda v: v.update(value="0.5"), lambda v: v.update(n=True)):
        values = asdict(ROW)
        how(values)
        file.write_text(json.dumps([values]))
        with pytest.raises(ConfigError, match="rows"):
            read_rows(file)


@pytest.mark.parametrize(
    ("name", "raw"), [("a.yaml", b"\xff"), ("a.origin.json", b"{}"), ("a.origin.json", b"["), ("a.rows.json", b"{}")]
)
def test_the_files_beside_a_record(tmp_path: Path, name: str, raw: bytes) -> None:
    for file in ("a.yaml", "a.origin.json", "a.rows.json"):
        (tmp_path / file).write_text("[]")
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(ConfigError, match=r"a\."):
        stored_specs(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["3", "[]", '["a", "b", null]', '["a", "b", [{}]]', '[1, "b", []]', '["a", "b", [{"updates": "1"}]]', "[NaN]"],
)
def test_a_line_of_curves(tmp_path: Path, text: str) -> None:
    path = tmp_path / "curves.jsonl"
    Lines(path, CurvePoint).add("one", "title", [CurvePoint(3, (True, None), (False, False), (True, True))])
    with path.open("a") as file:
        file.write('["torn", "tit\n')
    assert Lines(path, CurvePoint).get("one") == [CurvePoint(3, (True, None), (False, False), (True, True))]
    with path.open("a") as file:
        file.write(text + "\n")
    with pytest.raises(ConfigError, match=r"curves\.jsonl, line 4"):
        Lines(path, CurvePoint)


def test_candidates_are_those_that_were_saved(tmp_path: Path) -> None:
    start = LatentStart(torch.ones(4, 2, 2))
    candidates.save(
        tmp_path, "key", {"a": (Adversarial(text="a cat", start=start), Adversarial(embeds=torch.ones(2, 3)))}
    )
    whole, tensors = (tmp_path / "key.json").read_text(), (tmp_path / "key.safetensors").read_bytes()
    assert (tmp_path / "key.safetensors").stat().st_mode & 0o077 == tmp_path.stat().st_mode & 0o066
    for text in (
        "{}",
        "[]",
        "{",
        whole.replace('"a cat"', "3"),
        whole.replace('"a cat"', "null"),
        whole.replace('"eta"', '"eat"'),
    ):
        (tmp_path / "key.json").write_text(text)
        with pytest.raises(ConfigError, match=r"Remove .*key\.json, and its candidates are found again"):
            candidates.load(tmp_path, "key")
    (tmp_path / "key.json").write_text(whole)
    save_file({"a/1/embeds": torch.ones(2, 3)}, tmp_path / "key.safetensors")  # the latents are gone
    with pytest.raises(ConfigError, match="is not the file that was saved"):
        candidates.load(tmp_path, "key")
    (tmp_path / "key.safetensors").unlink()
    with pytest.raises(ConfigError, match="No such file"):
        candidates.load(tmp_path, "key")
    (tmp_path / "key.safetensors").write_bytes(tensors)
    assert candidates.load(tmp_path, "key") is not None


def test_names_of_variants_can_be_told_apart() -> None:
    for name in ("a+b", "../a", "a,b", ""):
        with pytest.raises(ConfigError, match="variant"):
            Variant("sld", name)


def test_two_concepts_of_one_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.yaml").write_text("{name: knives, kind: object, targets: [a knife]}")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"{{seed: 1, concepts: [{tmp_path}/a/c.yaml, {tmp_path}/b/c.yaml], variants: [{{guard: none}}], "
        "prompts: {unsafe: 2}, guidance_scale: 4.0}"
    )
    with pytest.raises(ConfigError, match="two concepts are called knives"):
        load_spec(spec)
