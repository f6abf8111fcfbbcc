"""One call of a guarded pipeline: the guards' states, the seams, and the proof that all of them were used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ...errors import UnsupportedPipeline
from ..families import Family
from ..freezing import frozen
from ..model.encoding import Encoding
from ..phrase_cache import PhraseCache
from ..proof import caches
from ..seams.attention import AttentionSeam
from ..seams.decode import DecodeSeam
from ..seams.output import OutputSeam
from ..seams.step import StepSeam
from ..seams.text import TextSeam
from ..seams.weights import WeightsSeam
from ..stages import Stage
from .guard_record import Record
from .guarded_class import CURRENT, close
from .reports import Report
from .watching import WatchSeam


class GuardedCall:
    """Made for one call and thrown away after it, so that threads may share guards."""

    def __init__(
        self,
        pipe: Any,
        family: Family,
        guards: tuple[Any, ...],
        arguments: dict[str, Any],
        book: PhraseCache,
        weights: WeightsSeam,
        *,
        heard: bool = False,
    ) -> None:
        family.check_scheduler(pipe.scheduler)
        self.pipe, self.family, self.weights = pipe, family, weights
        self.output_type = arguments.get("output_type")
        call = Encoding(pipe, family, arguments, book)
        self.records = [Record(guard, call) for guard in guards]
        self.denoisers = family.denoisers_of(pipe)
        self.attention = AttentionSeam(family, self.denoisers, self._at(Stage.ATTENTION))
        self.text = TextSeam(pipe, family, self._at(Stage.TEXT), lambda: call.encode([""]), heard=heard)
        trajectory = self._at(Stage.TRAJECTORY)
        steering = next((record for record in trajectory if not record.guard.watches), None)
        watch = WatchSeam([record for record in trajectory if record.guard.watches], call)
        self.steps = StepSeam(pipe, family, call, steering, self.text, self.attention, watch)
        self.decoder = DecodeSeam(self._at(Stage.DECODER), self._at(Stage.WEIGHTS))
        self.output = OutputSeam(self._at(Stage.OUTPUT))
        self._check_output_type()
        weights.begin()
        self._ended = ExitStack()  # what is to do then
        self._made: dict[str, tuple[Any, Any]] = {}  # by name: what the pipeline holds, and its proxy
        self._seams = {
            "encode_prompt": self.text.encode_prompt,
            **dict.fromkeys(family.denoisers, self.steps.denoiser),
            "scheduler": self.steps.scheduler,
            "vae": self.decoder.vae,
        }

    def _check_output_type(self) -> None:
        blind = [record.guard.stage for record in (*self.decoder.records, *self.output.records)]
        if blind and self.output_type == "latent":
            raise UnsupportedPipeline(
                f"output_type='latent' would hand out latents that the {blind[0]} guard never sees; "
                f"ask for 'pil', 'np' or 'pt', or detach the {blind[0]} guard."
            )

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Only a trajectory guard may ask for gradients, and never for the weights'."""
        with ExitStack() as held:
            for denoiser in self.denoisers if self._at(Stage.TRAJECTORY) else ():
                held.enter_context(frozen(denoiser))
            yield

    def _at(self, stage: Stage) -> list[Record]:
        return [record for record in self.records if record.guard.stage is stage]

    def proxy_for(self, name: str, original: Any) -> Any:
        """What the running pipeline reads under a name."""
        made = self._made.get(name)
        if made is None or made[0] is not original:
            made = self._made[name] = (original, self._seams[name](original))
            self._ended.callback(close, made[1])
        return made[1]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Route the pipeline through the seams, in this thread and this block."""
        token = CURRENT.set(self)
        for denoiser in self.denoisers:
            caches.forget(denoiser)
        try:
            with self._ended, torch.inference_mode(False), torch.no_grad(), self.attention.hooked(), self._frozen():
                yield
        finally:
            CURRENT.reset(token)

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Around code of the caller's that runs between two steps."""
        with self.attention.interrupted(), self.text.interrupted():
            yield

    def _note_weights(self, needed: tuple[str, ...]) -> None:
        """A weight guard acted where its weights ran; one of another stage needs them, too, but says itself."""
        for record in self.records:
            used = bool(record.guard.weights()) and self.weights.used(record.guard, needed)
            if used and record.guard.stage is Stage.WEIGHTS:
                record.note(torch.ones(1, dtype=torch.bool))

    def finish(self) -> Report:
        """Prove that every guard was used, and say what each did.

        Raises:
            GuardBypassed: some guard was not.
        """
        self.steps.finish()
        self.text.finish()
        self.decoder.finish(self.output_type)
        self._note_weights(self.family.drawn_with(self.output_type, self.steps.ran))
        return self._report()

    def so_far(self) -> Report:
        """What each guard did in a call that ended on the way; proves nothing."""
        self._note_weights(())
        return self._report()

    def _report(self) -> Report:
        guards = tuple(record.report(self.steps.batch) for record in self.records)
        return Report(guards, self.steps.passes, len(self.steps.schedule.places))
