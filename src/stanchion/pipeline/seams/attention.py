"""Attention guards act where text is projected, by native hooks that live as long as one call.

They are put on whatever the projections are when the call begins, so a LoRA layer that was loaded meanwhile is inside;
a processor that goes round the projections (fused ones do) is noticed in the same pass. Where text and picture go
through one layer, a guard sees the text's rows alone, and its own columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import GuardBypassed, StanchionError, UnsupportedPipeline
from ...types import Flagged
from ..attach.guard_record import Record
from ..families.base import Family, Pass, Place
from ..proof import caches
from ..proof.checksums import checksums
from ..proof.part_paths import PartPaths
from ..straight_through import straight_through

Key = tuple[str, str]


class AttentionSeam:
    """Hooks on every projection of text that some guard asks for, in every denoiser."""

    def __init__(self, family: Family, denoisers: list[nn.Module], records: list[Record]) -> None:
        self.family, self.records = family, records
        self._wanted = sorted({which for record in records for which in record.guard.projections})
        self._denoisers = denoisers
        self._places = [self._places_of(denoiser) for denoiser in denoisers]
        self._paths = [
            PartPaths(one, [place.module for place in places.values()])
            for one, places in zip(denoisers, self._places, strict=True)
        ]
        self._running: Mapping[Key, Place] = {}
        self._inputs: dict[str, Any] = {}
        self._hit: set[Key] = set()
        self._peaks: list[tuple[Record, str, Tensor]] = []  # the largest value of each result of this pass
        self._known: dict[Key, _KeptProjection] = {}  # K and V of a text alone, which stay the same in every step
        self._verdicts = [_Verdict() for _ in records]
        self._seen: Mapping[str, Flagged] = {}
        if records and not any(self._places):
            raise UnsupportedPipeline(f"no layer of this denoiser is known to project text ({family.title}).")

    def _places_of(self, denoiser: nn.Module) -> dict[Key, Place]:
        if not self._wanted:
            return {}
        return {(place.layer, place.which): place for place in self.family.text_projections(denoiser, self._wanted)}

    def judge(self, states: Any, rows: slice = slice(None), seen: Mapping[str, Flagged] | None = None) -> None:
        """Before a step's passes: let guards say which pictures they mean, by the prompt's ``rows`` of text states.

        They are asked anew where a monitor has ``seen`` something since, and texts are projected anew for them.
        """
        changed = seen is not None and seen is not self._seen
        for record, verdict in zip(self.records, self._verdicts, strict=True):
            again = changed and record.guard.asks_monitor
            verdict.take(record, states, rows, again)
            if again:
                self._known.clear()
        self._seen = self._seen if seen is None else seen

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep the hooks on for one call."""
        handles = []
        for places in self._places:
            for place in places.values():
                handles.append(place.module.register_forward_hook(self._hook(place)))
                if place.once and place.which != "q":
                    handles.append(place.module.register_forward_pre_hook(self._spare(place)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def watched(self, denoiser: nn.Module, one: Pass) -> Iterator[None]:
        """One pass of a denoiser: every projection of it must have been hit in that pass."""
        at = next(place for place, known in enumerate(self._denoisers) if known is denoiser)
        self._running, self._inputs = self._places[at], one.inputs
        for verdict in self._verdicts:
            verdict.read(one, self.family)
        self._hit.clear()
        self._peaks.clear()
        if lost := self._paths[at].lost():
            raise GuardBypassed(
                f"{lost}, a projection of text or what holds one, was replaced in the middle of a call (a callback "
                "loaded an adapter?): load adapters between calls."
            )
        yield
        missing = [f"{layer}.{which}" for layer, which in self._running if (layer, which) not in self._hit]
        if missing:
            raise GuardBypassed(
                f"{len(missing)} of {len(self._running)} text projections were not run through their guard "
                f"(first: {missing[0]}). {_why_missing(denoiser)}"
            )
        for record, verdict in zip(self.records, self._verdicts, strict=True):
            record.note(*verdict.by_picture())

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Somebody else's code runs in this block: where it changes a layer, texts are projected anew."""
        modules = {key: places[key].module for places in self._places for key in self._known if key in places}
        before = {key: _contents(module) for key, module in modules.items()}
        yield
        for denoiser, known in zip(self._denoisers, self._places, strict=True):
            if any(key not in known for key in self._places_of(denoiser)):
                raise GuardBypassed(
                    "an attention layer was added in the middle of a call: change models between calls."
                )
        for key, contents in before.items():
            if _contents(modules[key]) != contents:
                del self._known[key]

    def check(self, prediction: Tensor | Sequence[Tensor]) -> None:
        """Refuse NaN and infinity, all projections of a pass at once: asking the device for each would cost more.

        Queries are not looked at: every one that holds either makes a softmax of NaN, so the ``prediction`` shows it.
        """
        if not any(verdict.anyone for verdict in self._verdicts):
            return
        sums = [one.float().sum() for one in ([prediction] if isinstance(prediction, Tensor) else prediction)]
        peaks = [peak.float().to(sums[0].device) for _, _, peak in self._peaks]
        if torch.isfinite(torch.stack([*sums, *peaks])).all():
            return
        for record, what, peak in self._peaks:
            if not torch.isfinite(peak):
                raise record.not_finite(what)
        raise self.records[-1].not_finite("the prediction with its projections")

    def _spare(self, place: Place) -> Any:
        """What is known of a text is not projected again: the layer gets none of its rows."""
        key = (place.layer, place.which)

        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            known = self._known.get(key)
            if known is None or not known.holds(args[0]):
                self._known.pop(key, None)
                return None
            return (args[0][:, :0], *args[1:])

        return hook

    def _hook(self, place: Place) -> Any:
        key = (place.layer, place.which)
        everyone = zip(self.records, self._verdicts, strict=True)
        guarding = [(record, verdict) for record, verdict in everyone if place.which in record.guard.projections]

        @torch.compiler.disable
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self._hit.add(key)
            if (known := self._known.get(key)) is not None:
                return known.result
            if any(verdict.anyone for _, verdict in guarding):
                output = self._guarded(place, guarding, args[0], output)
            if place.once and place.which != "q" and _KeptProjection.may_keep(args[0], output):
                self._known[key] = _KeptProjection(args[0], args[0]._version, output, output._version)
            return output

        return hook

    def _guarded(
        self, place: Place, guarding: Sequence[tuple[Record, _Verdict]], given: Tensor, output: Tensor
    ) -> Tensor:
        """What a projection gives with the guards that mean somebody: another in the text's rows, and its columns."""
        rows, columns = self.family.text_rows(place, self._inputs), slice(*(place.columns or (None,)))
        context, projected = given[:, rows], output[:, rows, columns]
        for record, verdict in guarding:
            if verdict.anyone:
                projected = verdict.let_in(self._projected(record, place, context, projected), projected)
        if place.rows == "all" and place.columns is None:
            return projected
        output = output.clone()
        output[:, rows, columns] = projected
        return output

    def _projected(self, record: Record, place: Place, context: Tensor, projected: Tensor) -> Tensor:
        what = f"{place.layer}.to_{place.which}"
        try:
            result: Tensor = record.guard.project(place.layer, place.which, context, projected, record.state)
        except StanchionError:
            raise
        except Exception as error:
            raise record.failure(error) from error
        record.check_shape(what, result, projected.shape)
        if place.which != "q":
            self._peaks.append((record, what, result.detach().abs().amax()))
        return result.to(projected.dtype)


class _Verdict:
    """Which pictures a guard means: said once for the same prompts, before anything of them is projected."""

    def __init__(self) -> None:
        self._taken: _KeptProjection | None = None
        self._flagged: Flagged | None = None
        self._rows = torch.zeros(0, dtype=torch.long)  # the picture of each row of the pass
        self.anyone = True

    def take(self, record: Record, states: Any, rows: slice, again: bool = False) -> None:
        """Ask the guard, unless it has been asked about these very states; ``again`` asks all the same."""
        if not again and self._taken is not None and self._taken.holds(states):
            return
        with record.blame():
            prompts = states[rows]
            found = self._flagged = record.guard.flags(prompts, record.state)
        if found is None:
            return
        record.check_shape("its flags", found.acted, torch.Size([len(prompts)]))
        record.check("its score", found.scores, found.acted.shape)
        self.anyone = bool(found.acted.any()) or found.scores.requires_grad
        self._taken = (
            _KeptProjection(states, states._version, states, states._version)
            if isinstance(states, Tensor) and _KeptProjection.may_keep(states)
            else None
        )

    def read(self, one: Pass, family: Family) -> None:
        """A pass: all of its pictures under one condition after the other."""
        if self._flagged is None or not self.anyone:
            return
        who = torch.arange(len(self._flagged.acted)) if one.pictures is None else one.pictures.cpu()
        self._rows = who.repeat(family.count(one) // len(who)).to(self._flagged.acted.device)

    def let_in(self, new: Tensor, stock: Tensor) -> Tensor:
        """The guard's projection, (rows, L, C), for the pictures that it means; for every other the layer's own."""
        if self._flagged is None:
            return new
        acted, scores = (values[self._rows].to(new.device) for values in (self._flagged.acted, self._flagged.scores))
        return straight_through(torch.where(acted[:, None, None], new, stock), scores, new - stock)

    def by_picture(self) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) bool on which pictures of the pass the guard acted, and their scores; one row that stands for all."""
        if self._flagged is None:
            return torch.ones(1, dtype=torch.bool), {}
        acted = torch.zeros_like(self._flagged.acted)
        if self.anyone:
            acted[self._rows] = self._flagged.acted[self._rows]
        return acted, {"trigger": self._flagged.scores}


class _KeptProjection(NamedTuple):
    """A text and its projection, each with how often it had been written to."""

    context: Tensor
    context_version: int
    result: Tensor
    result_version: int

    @staticmethod
    def may_keep(*tensors: Tensor) -> bool:
        """No graph runs through them, and they count how often they are written to."""
        return not any(tensor.requires_grad or tensor.is_inference() for tensor in tensors)

    def holds(self, context: Tensor) -> bool:
        """Whether this is the same text, and neither has been changed since."""
        return (
            context is self.context
            and context._version == self.context_version
            and self.result._version == self.result_version
        )


def _why_missing(denoiser: nn.Module) -> str:
    if caches.in_place(denoiser):
        return (
            "A cache took what an earlier pass computed in the place of whole layers: call disable_cache() on "
            "the denoiser, or use a guard of another stage."
        )
    return (
        "Fused projections and processors of their own hide them: undo fuse_qkv_projections, or use a standard "
        "attention processor."
    )


def _contents(layer: nn.Module) -> tuple[Any, ...]:
    """What a layer's projection depends on: weights, adapters and their settings."""
    modules = list(layer.modules())
    settings = [
        repr({key: value for key, value in vars(one).items() if key not in _OF_EVERY_MODULE}) for one in modules
    ]
    return modules, settings, checksums(list(layer.parameters()))


_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}
