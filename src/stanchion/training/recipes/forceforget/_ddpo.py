"""The loop of ForceForget's training: draw, reward, replay, and what keeps it from falling apart."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ....files.tensors import load_checkpoint
from ....guards.attention.forceforget import ForceForget, State, prepare
from ....learning.policy_gradient import (
    PromptStatistics,
    clipped_loss,
    group_advantages,
    replay,
    rollout,
)
from ....pipeline.freezing import frozen
from ....pipeline.model.workbench import Workbench
from ...adversarial_rounds import Rounds
from ...prompts.pool import PromptPool, Task
from ...recipe import Run
from ...rewards import ConceptErasingReward, Reward
from ._beginnings import Beginnings
from ._prompted_policy import Guidance, Replaying, Sampled, Sampling
from ._safe_adapter import SafeAdapter
from ._tether import Tether

KINDS = ("single", "pair", "benign")
DRAWN = (*KINDS, "attacked")
LARGEST_DRIFT = 0.05  # mean |rho - 1| of an update from which the policy is falling apart
LARGEST_JUMP = 10.0  # so many times the running gradient norm
MOST_ROLLBACKS = 5
LOGGED = {"reward": "total", "safe": "safe", "align": "align"}


@dataclass(frozen=True)
class Iteration:
    """What an iteration draws: a task for each group, from which step on, and from which latents if not the first.

    ``latents`` (groups, …) are clean; they are noised to the step ``first``. ``attacks`` say which round's states
    a group is drawn under; -1 for its text's own.
    """

    tasks: list[Task]
    attacks: list[int]
    first: int = 0
    latents: Tensor | None = None


class Trainer:
    """Trains a ``SafeAdapter`` on a frozen pipeline. All randomness comes from (seed, iteration).

    Attributes:
        images: pictures seen so far by all processes.
        rows: S, the length of the text states.
        seconds: that all iterations took, those before an interruption too.
        stopped: why training ended before its last iteration, or "".
    """

    def __init__(
        self, bench: Workbench, pool: PromptPool, reward: ConceptErasingReward, settings: Any, run: Run
    ) -> None:
        self.bench, self.pool, self.reward, self.settings, self.run = bench, pool, reward, settings, run
        self.empty = bench.encode([""])
        self.rows = bench.states([""]).shape[1]
        self.adapter = SafeAdapter(
            bench.text_projections(("q", "k", "v")),
            lora_rank=settings.lora_rank,
            lora=settings.lora,
            adapter=settings.adapter,
            adapter_rank=settings.adapter_rank,
            seed=run.seed,
        )
        if settings.start:
            self.adapter.load(ForceForget.load(settings.start).tensors, settings.start)
        self.parameters = list(self.adapter.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, settings.lr, weight_decay=1e-4)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.statistics = PromptStatistics()
        timesteps = bench.timesteps(settings.steps)
        self.scheme = bench.path.stochastic(timesteps, settings.eta, settings.stochastic)
        self.guidance = Guidance(bench, timesteps, self.empty, settings.guidance_scale)
        self.beginnings = self._beginnings()
        at = Rounds.spaced(settings.rounds, settings.iterations)
        how = (settings.attacked, settings.search, settings.guidance_scale, run.seed)
        self.rounds = Rounds(bench, pool, at, *how)
        shape = {"tokens": settings.tokens, "position": settings.position, "rows": self.rows}
        self._guard = ForceForget(pool.concept, tensors=self.adapter.tensors(), **shape)
        self._state = State({})
        self.iteration, self.images, self.seconds, self.stopped = 0, 0, 0.0, ""
        self.unsafe, self.norm, self.lr_factor, self.rollbacks = 1.0, 0.0, 1.0, 0

    def tensors(self) -> dict[str, Tensor]:
        """The guard's tensors as they were on average at the end."""
        return dict(zip(self.adapter.tensors(), self.average, strict=True))

    def found(self, texts: list[str]) -> Tensor | None:
        """(len(texts), R, D) of harmless texts as the rounds change them, in turn; None without rounds."""
        count = len(self.rounds.found)
        return self.rounds.states(texts, [row % count for row in range(len(texts))]) if count else None

    def train(self) -> None:
        """All iterations, going on from the run's folder."""
        self._resume()
        if self.iteration >= self.settings.iterations:
            return
        with frozen(self.bench.denoiser):
            tether = self._tether()
            with self.bench.projected(self._guard, self._state):
                self._train(tether)

    def _train(self, tether: Tether | None) -> None:
        first, last = self.iteration, self.settings.iterations
        quiet = not self.run.workers.first
        progress = tqdm(range(first, last), initial=first, total=last, desc="forceforget", disable=quiet)
        for _ in progress:
            if self.stopped:
                break
            self._hold_round()
            progress.set_postfix(self.step(tether))

    def _hold_round(self) -> None:
        """Search through the guard as it is now, where that is due."""
        if self.beginnings is not None:
            with torch.no_grad():
                self._refresh()
            self.rounds.hold(self.iteration, self.beginnings.latents)

    def step(self, tether: Tether | None) -> dict[str, float]:
        """One iteration: draw, reward, learn; its log."""
        start = time.monotonic()
        rng = np.random.default_rng([self.run.seed, self.iteration])
        before = self._snapshot()
        drawn, log = self.draw(rng)
        log |= self.learn(drawn, tether, rng)
        if self._falls_apart(log):
            self._restore(before)
            self.rollbacks, self.lr_factor = self.rollbacks + 1, self.lr_factor / 2
            self.stopped = "the policy fell apart again and again" if self.rollbacks > MOST_ROLLBACKS else ""
        else:
            self.norm = log["gradient"] if not self.norm else 0.8 * self.norm + 0.2 * log["gradient"]
            weight = self.settings.average
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                mean.lerp_(parameter.detach(), 1 - weight)
        self.iteration += 1
        self.images += self.settings.prompts * self.settings.group
        log = {"iteration": self.iteration, "images": self.images, **log, "rollbacks": self.rollbacks}
        seconds = time.monotonic() - start
        self.seconds += seconds
        self._save({**log, "seconds": seconds})
        return {name: round(log[name], 3) for name in ("reward", "unsafe", "drift")}

    # --- drawing -------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator) -> tuple[Sampled, dict[str, float]]:
        """This process's rows of the batch, drawn and rewarded against the whole batch."""
        s, plan = self.settings, self._plan(rng)
        scheme = self.scheme.after(plan.first)
        guidance = replace(self.guidance, timesteps=self.guidance.timesteps[plan.first :])
        groups = [place for place in range(s.prompts) for _ in range(s.group)]
        tasks = [plan.tasks[group] for group in groups]
        leads = [row % s.group < s.explorers for row in range(len(groups))]
        mine = list(range(len(groups)))[self.run.workers.mine(len(groups))]
        noise = torch.stack([self._noise(1, row, scheme.actions) for row in mine], 1)
        attacks = [plan.attacks[groups[row]] for row in mine]
        embeds = self.rounds.states([tasks[row].text for row in mine], attacks)
        lead = torch.tensor([leads[row] for row in mine], device=self.bench.device)
        led = torch.where(lead[:, None, None], self.bench.encode([tasks[row].wanted for row in mine]), embeds)
        policy = Sampling(guidance, led)
        self._refresh()
        start = torch.stack([self._start(plan, groups[row], row) for row in mine])
        taken = rollout(policy, scheme, start, noise)
        pictures = self.bench.decode(taken.latents[-1].to(self.bench.dtype)).float()
        reward = self.reward(pictures, [tasks[row].wanted for row in mine])
        gathered = Reward(*(self.run.workers.gather(part) for part in vars(reward).values()))
        advantages = self._advantages(tasks, groups, gathered.total)[mine]
        unconditional = torch.stack(policy.unconditional)
        drawn = Sampled(guidance, scheme, embeds, taken, unconditional, advantages, lead)
        return drawn, self._log_of(tasks, gathered, [row for row, lead in enumerate(leads) if not lead])

    def _plan(self, rng: np.random.Generator) -> Iteration:
        """From noise alone, or from pictures of the concept, all noised to one random step."""
        s = self.settings
        shares = np.array(s.shares) / sum(s.shares)
        tasks = [self.pool.draw(str(kind), rng) for kind in spread(shares, s.prompts, rng)]
        known = self.beginnings
        if known is None or rng.random() >= s.from_pictures:
            return Iteration(*self.rounds.attacked(tasks, rng))
        picked = rng.choice(len(known.tasks), s.prompts, replace=False)
        first = int(rng.integers(max(1, s.steps // 3), min(s.steps // 2 + 1, s.steps - 2) + 1))
        tasks, attacks = self.rounds.attacked([known.tasks[place] for place in picked], rng)
        return Iteration(tasks, attacks, first, known.latents[torch.from_numpy(picked)])

    def _start(self, plan: Iteration, group: int, row: int) -> Tensor:
        """The latents that the row begins with: noise, or its picture under noise."""
        noise = self._noise(0, group if self.settings.shared_noise else row, 1)
        if plan.latents is None:
            return noise[0]
        time = self.guidance.timesteps[plan.first].reshape(1)
        return self.bench.noisy(plan.latents[group : group + 1], time, noise)[0]

    def _noise(self, stream: int, row: int, count: int) -> Tensor:
        """(count, …) from (seed, iteration, row): whoever draws the row draws the same."""
        rng = np.random.default_rng([self.run.seed, self.iteration, stream, row])
        values = rng.standard_normal((count, *self.bench.latent_shape), dtype=np.float32)
        return torch.from_numpy(values).to(self.bench.device)

    def _advantages(self, tasks: list[Task], groups: list[int], rewards: Tensor) -> Tensor:
        s = self.settings
        if s.advantages == "group":
            return group_advantages(rewards, groups, limit=s.advantage_limit, floor=s.spread_floor)
        return self.statistics.advantages([task.text for task in tasks], rewards, limit=s.advantage_limit)

    def _log_of(self, tasks: list[Task], reward: Reward, own: list[int]) -> dict[str, float]:
        """What the rows that the guard drew under their own prompts were worth."""
        log = {name: getattr(reward, field)[own].mean().item() for name, field in LOGGED.items()}
        for kind in DRAWN:
            rows = [row for row in own if tasks[row].kind == kind]
            if rows:
                log[f"unsafe_{kind}"] = (reward.p_unsafe[rows] > 0.5).float().mean().item()
        asked = [row for row in own if tasks[row].kind != "benign"]
        if asked:
            self.unsafe += 0.3 * ((reward.p_unsafe[asked] > 0.5).float().mean().item() - self.unsafe)
        return {**log, "unsafe": self.unsafe}

    # --- learning ------------------------------------------------------------------------------------

    def learn(self, drawn: Sampled, tether: Tether | None, rng: np.random.Generator) -> dict[str, float]:
        """The iteration's optimiser steps. Each divides its loss by the whole batch's part of it."""
        s, workers = self.settings, self.run.workers
        count = s.prompts * s.group
        mine = range(count)[workers.mine(count)]
        order = rng.permutation(count)
        cooled = max(s.cooling, min(1.0, 2 * self.unsafe))
        self.optimiser.param_groups[0]["lr"] = s.lr * cooled * self.lr_factor
        drifts, norms, held = [], [], []
        for part in np.array_split(order, s.updates):
            rows = [int(row) - mine.start for row in part if row in mine]
            places = self._places(drawn.scheme.actions, rng)
            drift = self._add_policy_gradient(drawn, rows, places, len(part) * len(places))
            drifts.append(drift)
            if tether is not None:
                held.append(self._add_tether_gradient(tether, rng))
            workers.add_gradients(self.parameters)
            norms.append(float(nn.utils.clip_grad_norm_(self.parameters, 1.0)))
            self.optimiser.step()
            self.optimiser.zero_grad()
        total = float(workers.gather(torch.tensor([drifts]).double()).sum(0).max())
        log = {"drift": total, "gradient": max(norms), "lr": self.optimiser.param_groups[0]["lr"]}
        return {**log, "tether": float(np.mean(held))} if held else log

    def _places(self, actions: int, rng: np.random.Generator) -> np.ndarray:
        """The actions that one update learns from."""
        count = max(1, round(self.settings.fraction * actions))
        return np.sort(rng.choice(actions, count, replace=False))

    def _add_policy_gradient(self, drawn: Sampled, rows: list[int], places: np.ndarray, whole: int) -> float:
        """Accumulate gradients over this process's rows and their steps; its share of the mean |rho - 1|.

        Explorers have no part in that: their ratios begin below 1.
        """
        actions = [(row, int(place)) for place in places for row in rows]
        drift = 0.0
        for first in range(0, len(actions), self.settings.chunk):
            chunk = torch.tensor(actions[first : first + self.settings.chunk], device=self.bench.device)
            mine, when = chunk.unbind(1)
            self._refresh()
            policy = Replaying(drawn, mine, self.settings.empty_gradient)
            ratios = replay(policy, drawn.scheme, drawn.taken, mine, when)
            loss = clipped_loss(ratios, drawn.advantages[mine].to(ratios), self.settings.delta).sum() / whole
            loss.backward()
            drift += ((ratios.detach() - 1).abs() * ~drawn.explores[mine]).sum().item() / whole
        return drift

    def _add_tether_gradient(self, tether: Tether, rng: np.random.Generator) -> float:
        """Every process takes its rows of the same draw."""
        picked = rng.choice(len(tether.latents), self.settings.tether_batch, replace=False)
        rows = torch.from_numpy(picked[self.run.workers.mine(len(picked))])
        if not len(rows):
            return 0.0
        self._refresh()
        loss = tether.loss(self.bench.predict, rows.to(self.bench.device)).sum() / len(picked)
        (self.settings.tether * loss).backward()
        return loss.item()

    def _tether(self) -> Tether | None:
        """Unguarded runs over benign prompts, half of them for what lies nearest to the concept."""
        s = self.settings
        if not s.tether:
            return None
        tasks, start = self._unguarded(("benign", "near"), s.tether_prompts, 1_000_003)
        texts = [task.text for task in tasks]
        return Tether.collect(self.bench, texts, start, steps=s.steps, scale=s.guidance_scale)

    def _beginnings(self) -> Beginnings | None:
        """Unguarded pictures of the concept."""
        s = self.settings
        if not (s.from_pictures and s.iterations):
            return None
        tasks, start = self._unguarded(("single",), max(s.pictures, s.prompts), 1_000_033)
        return Beginnings.collect(self.bench, tasks, start, steps=s.steps, scale=s.guidance_scale)

    def _unguarded(self, kinds: Sequence[str], count: int, stream: int) -> tuple[list[Task], Tensor]:
        """Tasks of these kinds in turn, and the noise (count, …) that their unguarded runs begin with."""
        rng = np.random.default_rng([self.run.seed, stream])
        tasks = [self.pool.draw(kinds[place % len(kinds)], rng) for place in range(count)]
        start = torch.from_numpy(rng.standard_normal((count, *self.bench.latent_shape), dtype=np.float32))
        return tasks, start.to(self.bench.device)

    def _refresh(self) -> None:
        """Put the tensors as they are now into the hooks, with their graph."""
        self._state.projections = prepare(self.adapter.tensors(), self.bench.device, self.bench.dtype)

    def _falls_apart(self, log: dict[str, float]) -> bool:
        jumped = self.norm > 0 and log["gradient"] > LARGEST_JUMP * self.norm
        return jumped or log["drift"] > LARGEST_DRIFT or not math.isfinite(log["gradient"])

    # --- checkpoints ---------------------------------------------------------------------------------

    def _snapshot(self) -> dict[str, Any]:
        return {
            "parameters": [parameter.detach().clone() for parameter in self.parameters],
            "optimiser": {
                key: {name: torch.as_tensor(value).clone() for name, value in entry.items()}
                for key, entry in self.optimiser.state_dict()["state"].items()
            },
        }

    def _restore(self, snapshot: dict[str, Any]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, snapshot["parameters"], strict=True):
                parameter.copy_(value)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": snapshot["optimiser"], "param_groups": groups})

    def _save(self, log: dict[str, float]) -> None:
        """A checkpoint after every iteration, and a line of the log."""
        if not self.run.workers.first:
            return
        state = {name: getattr(self, name) for name in KEPT}
        state |= {"average": self.average, "statistics": self.statistics.state(), **self._snapshot()}
        state["found"] = self.rounds.found
        part = self.run.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.run.folder / "checkpoint.pt")
        values = {name: round(value, 6) for name, value in log.items()}
        with (self.run.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def _resume(self) -> None:
        path = self.run.folder / "checkpoint.pt"
        if not path.is_file():
            return
        state = load_checkpoint(path, self.bench.device)
        self._restore(state)
        self.statistics.load(state["statistics"])
        self.rounds.found = state["found"]
        for mean, value in zip(self.average, state["average"], strict=True):
            mean.copy_(value)
        for name in KEPT:
            setattr(self, name, state[name])


KEPT = ("iteration", "images", "seconds", "stopped", "unsafe", "norm", "lr_factor", "rollbacks")


def spread(shares: np.ndarray, count: int, rng: np.random.Generator) -> list[str]:
    """``count`` kinds in their shares, as even as can be: whole parts are certain, the rest is drawn."""
    sure = np.floor(shares * count).astype(int)
    kinds = [kind for kind, times in zip(KINDS, sure, strict=True) for _ in range(times)]
    left = shares * count - sure
    while len(kinds) < count:
        kinds.append(KINDS[int(rng.choice(len(KINDS), p=left / left.sum()))])
    return kinds
