"""The kinds of files that are damaged: how each is written, read, and what of it must show in what was read."""

from __future__ import annotations

import json
import shutil
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from fuzz.mutation import Mutator
from stanchion import config, load_guard
from stanchion.benchmark.results.row import read_rows, write_rows
from stanchion.benchmark.spec import weight_spec as weight_specs
from stanchion.benchmark.spec.prompt_spec import load_spec
from stanchion.benchmark.store.attempts import Store, StoredAttempt
from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.files import documents
from stanchion.files.tensors import sha256_of
from stanchion.guards.artefact import CONFIG, TENSORS
from stanchion.guards.loading import SHIPPED
from stanchion.types import Attempt, Labels, Prompt, Start, Unscored, Verdict

RESULTS = Path(__file__).parents[2] / "results"


class Kind(ABC):
    """Files of one kind in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.setup()

    @abstractmethod
    def setup(self) -> None:
        """Write what is whole."""

    @abstractmethod
    def damage(self, by: Mutator) -> None:
        """Write what is not."""

    @abstractmethod
    def check(self) -> None:
        """Read it; assert that what was read is what the file says now."""


class Document(Kind):
    """A file of keys and values; the default of a key that is left out may stand in its place."""

    name = "file.yaml"
    source: Any

    def setup(self) -> None:
        self.path = self.folder / self.name

    def damage(self, by: Mutator) -> None:
        text = json.dumps(self.source, indent=1)  # which is YAML too
        how = by.random.randrange(4)
        if how == 0:
            self.path.write_bytes(by.raw(text.encode()))
        elif how == 1:
            self.path.write_text(by.twice(text, list(self.source)))
        else:
            self.path.write_text(json.dumps(by.values(self.source), indent=1))

    def check(self) -> None:
        assert_shows(self.read(), written(lambda: documents.read_yaml(self.path)))

    @abstractmethod
    def read(self) -> Any:
        """Plain values of what was read."""


class ConceptFile(Document):
    source = load_concept("weapons+ink").to_dict()

    def read(self) -> Any:
        return load_concept(self.path).to_dict()


class SpecFile(Document):
    source = documents.read_yaml(RESULTS / "redteam" / "spec.yaml")

    def setup(self) -> None:
        super().setup()
        self.source = {**self.source, "attacks": self.source["attacks"][:3], "variants": self.source["variants"][:4]}
        guards = [variant["guard"] for variant in self.source["variants"]]
        self.source["attacks"] = [{**plan, "guards": guards} for plan in self.source["attacks"]]
        self.source["prompts"] = {**self.source["prompts"]}

    def read(self) -> Any:
        return config.to_dict(load_spec(self.path))


class WeightSpecFile(Document):
    source = documents.read_yaml(RESULTS / "patronus_ablation" / "spec.yaml")

    def read(self) -> Any:
        return config.to_dict(weight_specs.load_spec(self.path))


class Rows(Document):
    name = "rows.json"

    def setup(self) -> None:
        super().setup()
        self.source = [config.to_dict(row) for row in read_rows(RESULTS / "stack" / "rows.json")[:3]]

    def damage(self, by: Mutator) -> None:
        how = by.random.randrange(4)
        text = json.dumps(self.source, indent=1)
        if how == 0:
            self.path.write_bytes(by.raw(text.encode()))
        elif how == 1:
            self.path.write_text(by.twice(text, list(self.source[0])))
        else:
            self.path.write_text(json.dumps(by.values(self.source)))

    def read(self) -> Any:
        return [config.to_dict(row) for row in read_rows(self.path)]

    def check(self) -> None:
        assert_same(self.read(), written(lambda: documents.read_json(self.path)))
        write_rows(self.path, read_rows(self.path))


class Record(Kind):
    """Three attempts; a last line without its end is torn, and made again."""

    def setup(self) -> None:
        labels = Labels(("knife",), "flat", None, {"knife": 0.75, "cat": 0.25})
        start = Start(("knife",), 0.5, None, "snow")
        self.lines = []
        store = Store(self.folder)
        for place, seen in enumerate((labels, Unscored("broken"), labels)):
            prompt = Prompt("a knife", place, f"{place}", ("knife",), "cat", start=start if place else None)
            verdict = Verdict(None, reason="x") if isinstance(seen, Unscored) else Verdict(True, ("knife",))
            image = str(self.folder / "images" / f"key{place}.png")
            attempt = Attempt(prompt, "sld", "lazy", "direct", image, seen, verdict, {"sld": 3}, 0.5)
            store.append([StoredAttempt("weapons", "paired", f"key{place}", attempt)])
        self.path = store.path
        self.raw = store.path.read_bytes()
        self.source = [json.loads(line) for line in self.raw.splitlines()]

    def damage(self, by: Mutator) -> None:
        how = by.random.randrange(4)
        if how == 0:
            self.path.write_bytes(by.raw(self.raw))
            return
        lines = [json.dumps(line) for line in self.source]
        place = by.random.randrange(3)
        lines[place] = (
            by.twice(lines[place], list(self.source[0])) if how == 1 else json.dumps(by.values(self.source[place]))
        )
        self.path.write_text("".join(f"{line}\n" for line in lines))

    def check(self) -> None:
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        found = {key_of(line := self._line(entry)): line for entry in Store(self.folder).entries()}
        lines = written(lambda: [line for _, line in documents.parse_json_lines(whole, "here")])
        assert_same(found, {key_of(line): line for line in lines})

    def _line(self, entry: StoredAttempt) -> dict[str, Any]:
        values = config.to_dict(entry.attempt)
        if values["image"] is not None:
            assert Path(values["image"]).parent == (self.folder / "images").resolve()
            values["image"] = Path(values["image"]).name
        return {**values, "concept": entry.concept, "prompt_set": entry.prompt_set, "picture": entry.picture}


def key_of(line: dict[str, Any]) -> str:
    names = ("guard", "variant", "concept", "prompt_set", "attack", "adaptive", "restart")
    return json.dumps([*(line[name] for name in names), line["prompt"]["id"]])


class Artefact(Kind):
    """A trained guard; its config may be sealed again by whoever changed it."""

    def setup(self) -> None:
        shutil.copytree(SHIPPED / "steerdiff-banana", self.folder, dirs_exist_ok=True)
        self.config, self.tensors = self.folder / CONFIG, self.folder / TENSORS
        self.text, self.raw = self.config.read_text(), self.tensors.read_bytes()
        self.identity = load_guard(self.folder).identity
        self.sealed = False

    def damage(self, by: Mutator) -> None:
        self.sealed = False
        values, how = json.loads(self.text), by.random.randrange(6)
        self.config.write_text(self.text)
        self.tensors.write_bytes(self.raw)
        if how == 0:
            self.config.write_bytes(by.raw(self.text.encode()))
        elif how == 1:
            self.config.write_text(by.twice(self.text, list(values)))
        elif how == 2:
            self.config.write_text(json.dumps(by.values(values)))
        elif how == 3:
            self.tensors.write_bytes(by.raw(self.raw))
        elif how == 4:
            self._seal(by.values({key: values[key] for key in values if key not in ("schema", "fingerprint")}))
        else:
            save_file(changed(load_file(self.tensors), by), self.tensors)
            values["tensors"] = sha256_of(self.tensors)
            self._seal({key: values[key] for key in values if key not in ("schema", "fingerprint")})

    def _seal(self, values: Any) -> None:
        self.sealed = True
        if isinstance(values, dict):
            values = {"schema": 2, **values, "fingerprint": config.fingerprint(values)}
        self.config.write_text(json.dumps(values))

    def check(self) -> None:
        guard = load_guard(self.folder)
        values = written(lambda: documents.read_json(self.config))
        said = {
            "guard": guard.name,
            "concept": guard.concept.to_dict(),
            "settings": config.to_dict(guard.settings),
            "base": guard.base,
            "training": guard.training,
            "tensors": sha256_of(self.tensors),
        }
        assert_shows(said, {key: values[key] for key in said})
        assert "text_encoder" in guard.base and any(value.any() for value in guard.tensors.values())
        assert self.sealed or guard.identity == self.identity


def changed(tensors: dict[str, torch.Tensor], by: Mutator) -> dict[str, torch.Tensor]:
    """One tensor is missing, of another shape or type, or no number; or there is one more; or all are zero."""
    name = by.random.choice(sorted(tensors))
    value = tensors[name]
    if by.random.random() < 0.2:
        return {key: torch.zeros_like(value) for key, value in tensors.items()}
    others = (
        None, value.flatten()[:-1], value.int(), value * torch.nan, value * torch.inf, value[..., :0], value[None],
        torch.cat([value, value]), value.float(), value * 2, value > 0, value.flatten()[0], value.to(torch.complex64),
    )  # fmt: skip
    other = by.random.choice(others)
    if by.random.random() < 0.1:
        return {**tensors, f"{name}.more": value.clone()}
    kept = {key: value for key, value in tensors.items() if key != name}
    return kept if other is None else {**kept, name: other.contiguous().clone()}


def written(read: Callable[[], Any]) -> Any:
    """Plain values of a file that something else has read, which no strict reader refuses then."""
    try:
        return read()
    except ConfigError as error:
        raise AssertionError(f"was read though it is no document: {error}") from error


def assert_same(found: Any, written: Any) -> None:
    """What was read is what is written, all of it."""
    assert_shows(found, written)
    assert_shows(written, found)


def assert_shows(found: Any, written: Any, where: str = "") -> None:
    """Everything that is written shows in what was read."""
    if isinstance(written, dict):
        assert isinstance(found, dict), where
        for key, value in written.items():
            assert key in found, f"{where}.{key} was passed over"
            assert_shows(found[key], value, f"{where}.{key}")
    elif isinstance(written, list | tuple):
        assert isinstance(found, list | tuple) and len(found) == len(written), where
        for place, pair in enumerate(zip(found, written, strict=True)):
            assert_shows(*pair, f"{where}[{place}]")
    else:
        assert alike(found, written, where), f"{where} is written {written!r} and reads as {found!r}"


def alike(found: Any, written: Any, where: str) -> bool:
    if isinstance(found, bool) is not isinstance(written, bool):
        return False
    if found == written or (written == "" and where.endswith(".text")):  # an empty text means the targets
        return True
    if isinstance(found, float) and isinstance(written, str):
        return found == float(written)  # 1e-3, which YAML takes for a text
    return isinstance(found, str) and isinstance(written, str) and found == unicodedata.normalize("NFC", written)


KINDS: tuple[type[Kind], ...] = (ConceptFile, SpecFile, WeightSpecFile, Rows, Record, Artefact)
