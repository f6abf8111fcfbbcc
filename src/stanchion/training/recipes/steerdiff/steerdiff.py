"""Training of SteerDiff: the identifier from windows of tokens, the map from aligned rows of two captions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ....config import Count, Natural, Positive, Share, checked
from ....errors import ConfigError
from ....files.text import lines
from ....guards.base import Guard
from ....guards.identifier import LONGEST, Identifier
from ....guards.text.steerdiff import NAMING, WHOLE, SteerDiff
from ....guards.triggers import TextScore
from ....learning.fit import FitSchedule, fit
from ....pipeline.model.text_bench import TextBench
from ....pipeline.model.text_streams import filled
from ...prompts.captions import everyday
from ...recipe import Recipe, Run
from ._linear_map import descended_map, ridge_map
from ._phrases import Framed, framed, pairs_of
from ._spellings import respelt, respelt_safe
from ._spoken import Spoken, aligned_rows, encoded
from ._token_windows import Windows, carrying, labelled

WORDS = {"decision": "are", "held_out": 0}  # the phrases themselves, as they are given
SUREST = 1e-6  # of a probability: what is nearer to 1 is lost in rounding


@checked
@dataclass(frozen=True)
class SteerDiffTraining:
    """What the identifier and the map are fitted to.

    Attributes:
        phrases: a file of lines "unsafe" or "unsafe,safe" beside the concept's own targets and anchors; "" for none.
        captions: a file with a safe caption on each line; "" for everyday captions that the recipe makes.
        safe: how many safe captions.
        context: how many captions with an unsafe phrase in them, beside the phrases by themselves; 0 as in the paper.
        written: for "carry", how many more with the phrases written in other ways (bare, in capitals, with marks, over
            and over), half of them by themselves; and as many harmless names written so.
        decision: what makes a prompt unsafe: windows that "carry" the phrase, or as in the paper those that "are" it.
            With "carry", safe captions that the model takes for the concept (``guards/triggers.py``) are left out: a
            model that knows yellow from bananas only draws one for "a yellow chair".
        held_out, refused: for "carry", of so many safe captions that nothing is fitted to, at most that share is
            flagged at a tau of one half. No more than half of the captions are held out; 0 of them calibrates nothing.
        cap: how many safe windows of a kind are taken from a caption; 0 for all of them, as in the paper.
        map: "ridge" in closed form, or "gradient" as the authors' code does it (full-batch Adam).
        ridge: the closed form's penalty, as a share of the mean square of the rows.
        map_epochs, lr: updates and learning rate of the gradient; the identifier has the same rate.
        epochs, batch: how often each of the identifier's windows is drawn, on average, and windows an update.
        rows: of text states, where a pipeline lets its caller choose how many (``max_sequence_length``); 0 for its own
            default, 512 of T5: captions by the thousand of so many do not fit in every memory.
    """

    phrases: str = ""
    captions: str = ""
    safe: Natural = 2000
    context: Count = 800
    written: Natural = 300
    decision: Literal["carry", "are"] = "carry"
    held_out: Count = 2000
    refused: Share = 0.001
    cap: Count = 6
    map: Literal["ridge", "gradient"] = "ridge"
    ridge: Positive = 1e-4
    map_epochs: Natural = 1500
    lr: Positive = 1e-3
    epochs: Natural = 4
    batch: Natural = 128
    rows: Count = 0


class SteerDiffRecipe(Recipe):
    """The paper's training (sections 1.3 and 1.4), and captions around the phrases, as they will be met.

    With ``context`` the map sees whole rows of such captions beside the same captions with the harmless phrase, end
    and padding included: that is what scope "prompt" steers. Every stream of a pipeline's text states gets identifiers
    and a map of its own.
    """

    name = "steerdiff"
    opens = TextBench
    Settings = SteerDiffTraining
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {"safe": 691, "context": 0, "cap": 0, "epochs": 30, "batch": 32, **WORDS},
        "tiny": {"safe": 80, "context": 200, "epochs": 50, "lr": 6e-3, **WORDS},
    }

    def train(self, bench: TextBench, run: Run) -> Guard:
        """Train each stream; and say of each how well windows that were held out are told apart."""
        tensors: dict[str, Tensor] = {}
        counts: dict[str, Any] = {}
        base: dict[str, str] = {}
        for one in self._benches(bench):
            prefix = "" if one.stream.name == WHOLE else f"{one.stream.name}."
            own, said = self._stream(one, run, prefix)
            tensors |= {prefix + name: value for name, value in own.items()}
            counts, base = counts | said, base | one.bases()
        end_token = self.settings.context > 0
        return SteerDiff(self.concept, tensors=tensors, base=base, training=counts, end_token=end_token)

    def _benches(self, bench: TextBench) -> tuple[TextBench, ...]:
        """One a stream, of as many rows as are asked for."""
        if not self.settings.rows:
            return bench.streams
        if "max_sequence_length" not in bench.family.encoding:
            raise ConfigError(f"rows: {bench.family.title} has text states of one length; leave rows out.")
        return TextBench(bench.pipe, None, max_sequence_length=self.settings.rows).streams

    def _stream(self, bench: TextBench, run: Run, stream: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Encode, fit and calibrate: one stream's tensors, and what is said of them."""
        settings = self.settings
        spoken, written, held_out = self._spoken(bench, run)
        identifiers = {"": (labelled, spoken)}
        if settings.decision == "carry":
            identifiers = {"": (carrying, spoken.joined(written)), NAMING: (labelled, spoken)}
        tensors: dict[str, Tensor] = {}
        counts: dict[str, Any] = {}
        for place, (prefix, (label, said)) in enumerate(identifiers.items()):
            windows = label(said, LONGEST, settings.cap, np.random.default_rng([run.seed, 1, place]))
            identifier, seen = self._identifier(windows, run, f"{stream}{prefix}identifier")
            tensors |= {f"{prefix}{name}": value for name, value in identifier.state_dict().items()}
            counts[f"{stream}{prefix}identifier"] = {
                "windows": len(windows),
                "unsafe": int(windows.unsafe.sum()),
                **seen,
            }
        layer = self._map(*_aligned(spoken) if settings.context else _by_position(spoken), run.seed)
        tensors |= {"map.weight": layer.weight, "map.bias": layer.bias}
        tensors = {name: value.detach().cpu().half() for name, value in tensors.items()}
        tensors["last.bias"] = calibrated(tensors, held_out, settings.refused, spoken.first)
        return tensors, counts

    def _spoken(self, bench: TextBench, run: Run) -> tuple[Spoken, Spoken, Tensor]:
        """Phrases by themselves and in captions, and safe captions; both written in other ways; safe ones held out."""
        settings, rng = self.settings, np.random.default_rng([run.seed, 0])
        pairs = pairs_of(self.concept, settings.phrases)
        captions = [Framed(pair) for pair in pairs] + framed(pairs, settings.context, rng)
        never, count = [pair.unsafe for pair in pairs], settings.safe + settings.held_out
        safe = _lines(settings.captions)[:count] if settings.captions else everyday(count, rng, never=never)
        kept = len(safe) - min(settings.held_out, len(safe) // 2)
        spoken = Spoken.of(bench, captions, safe[:kept], run.workers)
        if settings.decision == "are":
            return spoken, spoken, spoken.safe[:0]
        harmless = respelt_safe(settings.written, rng, never=never)
        written = Spoken.of(bench, respelt(pairs, settings.written, rng), harmless, run.workers)
        apart = encoded(bench, safe[kept:], run.workers) if safe[kept:] else spoken.safe[:0]
        score = TextScore(bench, self.concept)
        plain, other = (said.keeping(self._harmless(score, said.safe)) for said in (spoken, written))
        return plain, other, apart[self._harmless(score, apart)]

    def _harmless(self, score: TextScore, captions: Tensor) -> Tensor:
        """(N,) bool: which of (N, L, D) captions the model does not take for the concept."""
        kept = [score.of(part) < score.threshold for part in captions.split(64)]
        harmless = torch.cat(kept) if kept else captions.new_ones(0, dtype=torch.bool)
        if len(captions) and not harmless.any():
            raise ConfigError(f"captions: the model takes every one of them for {self.concept.name}; give others.")
        return harmless

    def _identifier(self, windows: Windows, run: Run, name: str) -> tuple[Identifier, dict[str, float]]:
        """Fitted on 95 of 100 windows; and its precision and recall on the others."""
        settings, device = self.settings, windows.states.device
        order = torch.from_numpy(np.random.default_rng([run.seed, 2]).permutation(len(windows))).to(device)
        held_out, fitted = order.tensor_split([len(order) // 20])
        torch.manual_seed(run.seed)
        identifier = Identifier(windows.states.shape[-1]).to(device)

        def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
            drawn = rng.integers(len(fitted), size=settings.batch)[run.workers.mine(settings.batch)]
            taken, unsafe = windows.take(fitted[torch.from_numpy(drawn).to(device)])
            wrong = binary_cross_entropy_with_logits(identifier(taken), unsafe, reduction="sum")
            return {"loss": wrong / settings.batch}

        steps = settings.epochs * math.ceil(len(fitted) / settings.batch)
        schedule = FitSchedule(steps, settings.batch, settings.lr, min(100, steps // 10 + 1), decay=0, weight_decay=0)
        fit(identifier, loss, schedule, run.folder / name, seed=run.seed, workers=run.workers)
        return identifier, _precision_and_recall(identifier, windows, held_out)

    def _map(self, x: Tensor, y: Tensor, seed: int) -> nn.Linear:
        if self.settings.map == "ridge":
            return ridge_map(x, y, self.settings.ridge)
        return descended_map(x, y, epochs=self.settings.map_epochs, lr=self.settings.lr, seed=seed)


def _aligned(spoken: Spoken) -> tuple[Tensor, Tensor]:
    """(N (L - 1), D) rows of the captions with an unsafe phrase, the first left out, and those of the harmless ones."""
    length = spoken.unsafe.shape[1]
    rows = torch.stack([aligned_rows(place, length) for place in spoken.places]).to(spoken.unsafe.device)
    there = spoken.counterparts.gather(1, rows[..., None].expand_as(spoken.counterparts))
    first = spoken.first
    return spoken.unsafe[:, first:].flatten(0, 1), there[:, first:].flatten(0, 1)


def _by_position(spoken: Spoken) -> tuple[Tensor, Tensor]:
    """The phrases' own rows by themselves, (N * 9, D) each, zero behind a phrase's end; longer phrases are left out."""
    kept = [k for k, place in enumerate(spoken.places) if max(place.end - place.start, place.counterpart) <= LONGEST]
    place = torch.arange(LONGEST)[None, :, None]
    here = torch.tensor([spoken.places[k].end - spoken.places[k].start for k in kept])[:, None, None]
    there = torch.tensor([spoken.places[k].counterpart for k in kept])[:, None, None]
    device, rows = spoken.unsafe.device, slice(spoken.first, spoken.first + LONGEST)
    x = spoken.unsafe[kept, rows] * (place < here).to(device)
    y = spoken.counterparts[kept, rows] * (place < there).to(device)
    return x.flatten(0, 1), y.flatten(0, 1)


@torch.no_grad()
def calibrated(tensors: Mapping[str, Tensor], captions: Tensor, refused: float, first: int = 1) -> Tensor:
    """The identifier's last bias, such that a share of (N, L, D) captions, searched whole, scores above one half.

    Whole is from the row ``first`` on. Of the numbers as they are saved. It is never raised: one half is what the
    identifier was fitted to. A tau near 1 would do the same, and hide from whoever differentiates the score how near a
    prompt is.
    """
    bias = tensors["last.bias"]
    if not len(captions):
        return bias
    identifier = Identifier(captions.shape[-1]).to(captions.device)
    identifier.load_state_dict({name: tensors[name].float() for name in identifier.state_dict()})
    everywhere = (torch.arange(captions.shape[1], device=captions.device) >= first) & filled(captions)
    parts = zip(captions.split(64), everywhere.split(64), strict=True)
    highest = torch.cat([identifier.scan(*part).flatten(1).amax(1) for part in parts])
    return bias - highest.quantile(1 - refused).logit(SUREST).clamp_min(0).to(bias)


@torch.no_grad()
def _precision_and_recall(identifier: Identifier, windows: Windows, chosen: Tensor) -> dict[str, float]:
    """Of windows at a probability of one half; 1 where nothing was found, or nothing was there to find."""
    parts = [windows.take(part) for part in chosen.split(4096)]
    found = torch.cat([identifier(taken) > 0 for taken, _ in parts])
    unsafe = torch.cat([labels for _, labels in parts]) > 0
    both = int((found & unsafe).sum())
    precision, recall = both / max(int(found.sum()), 1), both / max(int(unsafe.sum()), 1)
    return {"held_out_precision": round(precision, 4), "held_out_recall": round(recall, 4)}


def _lines(file: str) -> list[str]:
    try:
        found = lines(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"captions: {file!r} can't be read: {error}.") from None
    if not (captions := [line.strip() for line in found if line.strip()]):
        raise ConfigError(f"captions: {file!r} holds none; give a file with a caption on each line.")
    return captions
