"""The picture monitor: taught on a pipeline's own runs, plain, under other guards, and with searched text states.

Nobody labels pictures. A first network learns from plain runs, of which the prompt says what they show. It then reads
the *finished* pictures of all other runs; those that it finds clear, or to show more than harmless ones do, teach the
second, each in all of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ....config import Count, Natural, NotNegative, Positive, Share, checked
from ....errors import ConfigError
from ....guards.base import Guard
from ....guards.loading import stack_of
from ....guards.trajectory.monitor import Monitor, PictureNetwork, State, network_of
from ....learning.fit import FitSchedule, fit
from ....pipeline.freezing import frozen
from ....pipeline.model.text_bench import DrawingBench
from ....pipeline.model.workbench import Workbench
from ...prompts.pool import PromptPool, wide_pool
from ...recipe import Recipe, Run
from ...searched_states import StateSearch
from ._rows import Learnt, PictureReader, harder, read, samples
from ._runs import Runs, draw_runs

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # those that are tried, the lowest first
FINISHED = (0.15, 0.2, 0.25, *THRESHOLDS)  # the same, of the last look
KINDS: tuple[Literal["benign", "near", "pair"], ...] = ("benign", "near", "pair")  # of harmless prompts, by turns
SEEDS = 1_000_000  # between the pictures of two kinds of runs


@checked
@dataclass(frozen=True)
class MonitorTraining:
    """What the monitor learns from, and for how long.

    Attributes:
        start: folder of a saved monitor to go on from; "" for one that begins with what the first network learnt.
            With ``steps=0`` its weights stay, and its thresholds alone are calibrated anew, on the plain runs.
        named, harmless: plain runs of prompts with the concept, alone and in pairs by turns, and without it.
        steered: runs under each guard of ``guards``, of prompts with the concept.
        guards: names of guards, or folders of saved ones, each with its settings. TraSCE's loss is left out: it takes
            twice the time and changes what is drawn in one picture of a hundred.
        completed: runs under each guard, of prompts with the concept, of which the unguarded model took the first steps
            (arXiv 2505.17013): as many for each number of steps in ``begun``, and as many again with the first monitor
            beside the guard.
        begun: those numbers, below ``sampling_steps``.
        attacked: runs of each soft prompt.
        soft_prompts: how many are searched against the pipeline, and as many again in each round; 0 on families of
            which no white-box attack knows the denoiser.
        rounds: of soft prompts that hide from the monitor as it is by then, which then learns from them.
        updates, batch: of each search.
        hide: weight of hiding in it.
        held_out: of each kind of runs one in so many is held out: the card says what it trips on among them.
        false_alarms: share of the plain harmless ones among them on which it may trip, and twice that of those which
            name a neighbour: the thresholds follow from it.
        sampling_steps, guidance_scale: of all runs.
        arguments: of the pipeline's call beside these, as height and width.
        at_once: pictures that are drawn together; more are faster on an accelerator, and take more memory.
        steps, rows, lr: of each of the network's fits: updates, steps of runs in each, learning rate.
    """

    start: str = ""
    named: Natural = 480
    harmless: Natural = 720
    steered: Natural = 48
    guards: dict[str, dict[str, Any]] = field(default_factory=lambda: {"trasce": {"when": "always"}})
    completed: Natural = 24
    begun: tuple[Natural, ...] = (3, 5)
    attacked: Natural = 32
    soft_prompts: Count = 2
    rounds: Natural = 2
    updates: Natural = 40
    batch: Natural = 16
    hide: NotNegative = 0.05
    held_out: Natural = 4
    false_alarms: Share = 0.005
    sampling_steps: Natural = 20
    guidance_scale: Positive = 4.0
    arguments: dict[str, Any] = field(default_factory=dict)
    at_once: Natural = 48
    steps: Count = 1500
    rows: Natural = 96
    lr: Positive = 3e-3

    def __post_init__(self) -> None:
        if max(self.begun, default=0) >= self.sampling_steps:
            raise ConfigError(
                f"monitor: of {self.sampling_steps} sampling steps {max(self.begun)} can't be taken without guards "
                "and some be left; say fewer in begun."
            )
        if not (self.steps or self.start):
            raise ConfigError("monitor: steps is 0, and there is no saved one to calibrate anew; name it in start.")


class MonitorRecipe(Recipe):
    """Of no paper: runs of seven kinds, a network of 140 thousand weights, minutes on one core."""

    name = "monitor"
    Settings = MonitorTraining
    settings: MonitorTraining
    opens = DrawingBench
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "tiny": {
            "named": 16,
            "harmless": 16,
            "steered": 4,
            "guards": {"negative_prompt": {}},
            "completed": 4,
            "begun": (1,),
            "attacked": 4,
            "soft_prompts": 1,
            "rounds": 1,
            "updates": 2,
            "batch": 2,
            "sampling_steps": 4,
            "steps": 2,
            "rows": 32,
        },
    }

    def train(self, bench: DrawingBench, run: Run) -> Guard:
        """Draw, read, attack, learn, and look at what was held out."""
        if run.workers.size > 1:
            raise ConfigError("monitor is trained by one process; start it without torchrun.")
        if self.settings.soft_prompts and "training" not in bench.family.offers:
            raise ConfigError(
                f"monitor: soft_prompts is {self.settings.soft_prompts}, and no search for text states is known on "
                f"{bench.family.title}: give soft_prompts=0 (--set soft_prompts=0), and it learns from what is drawn."
            )
        kinds = {name: Learnt(runs, label) for name, (runs, label) in self._plain(bench, run).items()}
        saved = network_of(Monitor.load(self.settings.start).tensors, bench.device) if self.settings.start else None
        if saved is not None and not self.settings.steps:
            return self._tested(saved, kinds, bench)
        first = self._fitted("reader", kinds, None, bench, run)
        reader = PictureReader.of(first, self._part(kinds["harmless"], held_out=True).runs, self.settings.false_alarms)
        last = saved or first  # what a saved one is blind to it can't teach, so it is not the reader
        kinds |= {name: read(runs, reader) for name, runs in self._steered(bench, run).items()}
        kinds |= {name: read(runs, reader) for name, runs in self._completed("completed", bench, run).items()}
        kinds |= self._attacked("attacked", 0, kinds, reader, bench, run, None)
        last = self._fitted("first", kinds, last, bench, run)
        watching = self._guard(last, bench, still="keep")
        kinds |= {name: read(runs, reader) for name, runs in self._completed("watched", bench, run, watching).items()}
        for turn in range(self.settings.rounds if self.settings.soft_prompts else 0):
            kinds |= self._attacked("hidden", turn * self.settings.soft_prompts, kinds, reader, bench, run, last)
            last = self._fitted(f"after_{turn}", kinds, last, bench, run)
        return self._tested(last, kinds, bench)

    def _plain(self, bench: DrawingBench, run: Run) -> dict[str, tuple[Runs, Tensor]]:
        """Runs of which the prompt says what they show, and what that is."""
        s, rng, pool = self.settings, np.random.default_rng([run.seed, 0]), wide_pool(self.concept)
        named = [pool.draw(("single", "pair")[place % 2], rng).text for place in range(s.named)]
        harmless = _harmless(pool, s.harmless, rng)
        return {
            "named": (self._drawn("named", named, 0, bench, run), torch.ones(s.named)),
            "harmless": (self._drawn("harmless", harmless, 1, bench, run), torch.zeros(s.harmless)),
        }

    def _drawn(
        self,
        name: str,
        sent: Sequence[str] | Tensor,
        place: int,
        bench: DrawingBench,
        run: Run,
        *guards: Guard,
        watching: Sequence[Guard] = (),
        begun: int = 0,
    ) -> Runs:
        return draw_runs(
            bench.pipe,
            self.concept,
            run.folder / f"{name}.safetensors",
            sent,
            steps=self.settings.sampling_steps,
            scale=self.settings.guidance_scale,
            more=self.settings.arguments,
            at_once=self.settings.at_once,
            seed=(run.seed * 10 + place) * SEEDS,
            guards=guards,
            watching=watching,
            begun=begun,
        )

    def _steered(self, bench: DrawingBench, run: Run) -> dict[str, Runs]:
        """Runs under other guards: some of them show the concept all the same."""
        found = {}
        for place, guards in enumerate(self._others()):
            label = f"steered_{place}"
            texts = self._naming(self.settings.steered, [run.seed, 1, place])
            found[label] = self._drawn(label, texts, 2 + place, bench, run, *guards)
        return found

    def _completed(self, kind: str, bench: DrawingBench, run: Run, *watching: Guard) -> dict[str, Runs]:
        """Runs that the unguarded model has begun, and other guards end: some of them show what it began."""
        s, found = self.settings, {}
        for place, (guards, begun) in enumerate(product(self._others(), s.begun)):
            label = f"{kind}_{place}"
            texts = self._naming(s.completed, [run.seed, 3, len(kind), place])
            place += 20 * len(kind)
            found[label] = self._drawn(label, texts, place, bench, run, *guards, watching=watching, begun=begun)
        return found

    def _others(self) -> list[tuple[Guard, ...]]:
        """The guards of the settings, each by itself."""
        named = self.settings.guards.items()
        return [stack_of([name], self.concept, {name: settings}).guards for name, settings in named]

    def _naming(self, count: int, seed: Sequence[int]) -> list[str]:
        """Prompts with the concept, in pairs and alone by turns."""
        pool, rng = wide_pool(self.concept), np.random.default_rng(seed)
        return [pool.draw(("pair", "single")[at % 2], rng).text for at in range(count)]

    def _attacked(
        self,
        kind: str,
        first: int,
        known: Mapping[str, Learnt],
        reader: PictureReader,
        bench: DrawingBench,
        run: Run,
        hide_from: PictureNetwork | None,
    ) -> dict[str, Learnt]:
        """Runs of soft prompts over harmless prompts, where any are searched."""
        s, rng = self.settings, np.random.default_rng([run.seed, 2, len(kind)])
        if not s.soft_prompts:
            return {}
        texts, opened = _harmless(wide_pool(self.concept), s.attacked, rng), Workbench(bench.pipe)
        wanted = opened.from_map(known["named"].runs.finished.to(bench.device))
        search = StateSearch(opened, wanted, texts, s.guidance_scale, s.updates, s.batch)
        found = {}
        for place in range(first, first + s.soft_prompts):
            name, seed = f"{kind}_{place}", 50 + 10 * len(kind) + place
            if (run.folder / f"{name}.safetensors").is_file():
                offset = torch.zeros(())  # drawn already
            else:
                with frozen(bench.denoiser):
                    offset = search.found(run.seed * 100 + seed, hide_from, s.hide)
            states = search.states(offset.to(bench.device), range(len(texts)))
            runs = self._drawn(name, states.to(bench.dtype), seed, bench, run)
            found[name] = read(runs, reader)
        return found

    def _fitted(
        self,
        name: str,
        kinds: Mapping[str, Learnt],
        before: PictureNetwork | None,
        bench: DrawingBench,
        run: Run,
    ) -> PictureNetwork:
        """A network that begins with what one knew before, and has learnt from all kinds, but for what is held out."""
        taught = samples([self._part(kind, held_out=False) for kind in kinds.values()])
        torch.manual_seed(run.seed)
        network = PictureNetwork(taught[0].shape[1]).to(bench.device)
        if before is not None:
            network.load_state_dict(before.state_dict())
        schedule = FitSchedule(self.settings.steps, self.settings.rows, self.settings.lr, 50, 0.99)
        fit(network, partial(self._loss, network, taught), schedule, run.folder / name, seed=run.seed)
        return network.requires_grad_(False)

    def _loss(
        self, network: PictureNetwork, taught: tuple[Tensor, Tensor, Tensor], step: int, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """As many steps with the concept as without it."""
        seen, levels, labels = taught
        half = self.settings.rows // 2
        rows = torch.cat([torch.from_numpy(rng.choice((labels == side).nonzero()[:, 0], half)) for side in (0.0, 1.0)])
        clean, level, label = harder(network, seen[rows].float(), levels[rows], labels[rows], rng)
        return {"loss": binary_cross_entropy_with_logits(network(clean, level), label)}

    def _part(self, kind: Learnt, *, held_out: bool) -> Learnt:
        """One in so many, at the end, or all the others."""
        count = len(kind.labels) - len(kind.labels) // self.settings.held_out
        return kind[count:] if held_out else kind[:count]

    def _tested(self, network: PictureNetwork, kinds: Mapping[str, Learnt], bench: DrawingBench) -> Monitor:
        """Calibrated, and with what it does on held-out runs."""
        guard = self._calibrated(network, kinds, bench)
        guard.training = {"held_out": {name: self._tried(guard, kind) for name, kind in kinds.items()}}
        return guard

    def _calibrated(self, network: PictureNetwork, kinds: Mapping[str, Learnt], bench: DrawingBench) -> Monitor:
        """The guard with the lowest thresholds at which it trips on few enough held-out plain harmless runs.

        The last look comes first: it is the surest.
        """

        def guard(threshold: float, finished: float) -> Monitor:
            return self._guard(network, bench, threshold=threshold, release=threshold / 2, finished=finished)

        def calm(threshold: float, finished: float) -> bool:
            return self._calm(guard(threshold, finished), kinds["harmless"])

        last = next((one for one in FINISHED if calm(THRESHOLDS[-1], one)), FINISHED[-1])
        first = next((one for one in THRESHOLDS if calm(one, last)), THRESHOLDS[-1])
        return guard(first, last)

    def _calm(self, guard: Monitor, harmless: Learnt) -> bool:
        """Whether it trips on few enough of them."""
        tripped, allowed = self._tripped(guard, harmless), self.settings.false_alarms
        places = torch.arange(len(harmless.labels) - len(tripped), len(harmless.labels))
        near = places % len(KINDS) == KINDS.index("near")
        return bool(tripped.float().mean() <= allowed) and bool(tripped[near].sum() <= 2 * allowed * near.sum())

    def _tried(self, guard: Monitor, kind: Learnt) -> dict[str, int]:
        """Of held-out runs that show the concept, or do not, on how many it trips."""
        part, tripped = self._part(kind, held_out=True), self._tripped(guard, kind)
        shows, clear = part.labels == 1, part.labels == 0
        return {
            "shown": int(shows.sum()),
            "found": int((tripped & shows).sum()),
            "clear": int(clear.sum()),
            "false_alarms": int((tripped & clear).sum()),
        }

    def _tripped(self, guard: Monitor, kind: Learnt) -> Tensor:
        """(N,) bool of held-out runs: on which it trips."""
        part, state = self._part(kind, held_out=True), State(anchor=None)
        tripped = torch.zeros(len(part.labels), dtype=torch.bool)
        levels = part.runs.levels.tolist()
        for place, clean in enumerate(part.runs.seen.unbind(1), start=1):
            last = place == len(levels)
            tripped = guard.count(guard.hits(clean.float(), levels[place - 1], last=last), state, last=last)
        return tripped

    def _guard(self, network: PictureNetwork, bench: DrawingBench, **settings: Any) -> Monitor:
        return Monitor(
            self.concept,
            tensors={name: value.detach().cpu().half() for name, value in network.state_dict().items()},
            base={name: bench.base_of(name) for name in Monitor.based_on},
            **settings,
        )


def _harmless(pool: PromptPool, count: int, rng: np.random.Generator) -> list[str]:
    """Benign prompts, of one thing, of a neighbour, of two things, and now and then of nothing."""
    texts = []
    for place in range(count):
        kind = KINDS[place % len(KINDS)]
        if kind == "pair":
            first, second = rng.choice(np.array(pool.companions), 2, replace=False)
            texts.append(f"{first} and {second}")
        else:
            texts.append("" if rng.random() < 0.05 else pool.draw(kind, rng).text)
    return texts
