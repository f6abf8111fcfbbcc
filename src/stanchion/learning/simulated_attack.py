"""Simulated fine-tuning attacks inside a first-order meta-learning loop.

Patronus (arXiv 2510.16581) and SOPHON (arXiv 2404.12699) train weights that resist fine-tuning: an attacker fine-tunes
a copy for a few steps, the protection's loss is taken at the copy's weights, and its gradient there is applied to the
original weights (first-order MAML: no second derivatives). Each checkpoint's gradient is taken and added up by itself,
so memory does not grow with the number of steps.

    attack = SimulatedAttack(module, attackers.draw(rng))
    losses = attack.protect(attack_loss, protect_loss, rng, every=5)     # gradients are now in the originals' .grad
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adam, AdamW, Optimizer, RMSprop

from ..config import Filled, Natural, NotNegative, Positive, checked
from ..errors import ConfigError
from .workers import ALONE, Workers

AttackLoss = Callable[[nn.Module, int, np.random.Generator], Tensor]  # the second argument is the batch size
ProtectLoss = Callable[[nn.Module, np.random.Generator], Tensor]

Optimiser = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adadelta"]
OPTIMISERS: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9, dampening=0.9),  # v <- .9 v + .1 g, first v = g: the authors' form
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
}


@dataclass(frozen=True)
class Attacker:
    """Who fine-tunes: ``steps`` updates of ``batch`` samples; gradients' norm is cut to ``clip`` (0: it is not)."""

    optimiser: str
    lr: float
    batch: int
    steps: int
    clip: float = 0.0

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ConfigError(
                f"simulated attacker: optimiser is {self.optimiser!r}; use one of {', '.join(OPTIMISERS)}."
            )


@checked
@dataclass(frozen=True)
class Attackers:
    """Attackers to draw from: each property by lot from its own list.

    ``between``: the learning rate is log-uniform between the least and the greatest of ``lrs``, ``steps`` uniform.
    """

    optimisers: Annotated[tuple[Optimiser, ...], Filled()] = ("momentum", "adam")
    lrs: Annotated[tuple[Positive, ...], Filled()] = (1e-4, 1e-3)
    batches: Annotated[tuple[Natural, ...], Filled()] = (12,)
    steps: Annotated[tuple[Natural, ...], Filled()] = (5,)
    clips: Annotated[tuple[NotNegative, ...], Filled()] = (0.0,)
    between: bool = False

    def draw(self, rng: np.random.Generator) -> Attacker:
        """One attacker."""
        lr, steps = float(rng.choice(self.lrs)), int(rng.choice(self.steps))
        if self.between:
            lr = float(np.exp(rng.uniform(np.log(min(self.lrs)), np.log(max(self.lrs)))))
            steps = int(rng.integers(min(self.steps), max(self.steps) + 1))
        optimiser, batch = str(rng.choice(self.optimisers)), int(rng.choice(self.batches))
        return Attacker(optimiser, lr, batch, steps, float(rng.choice(self.clips)))


class SimulatedAttack:
    """One attacker at work on a module whose own weights stay what they are.

    The attacker's weights are the module's plus a difference that this object keeps. So an attack may be simulated
    at once, or go on a few steps at a time while the module is trained beneath it (a *persistent* attacker: long
    attacks at the price of short ones).

    Attributes:
        attacker: who it is.
        taken: updates so far.
        broken: its loss is no longer finite; it goes no further, and nothing is learnt from it.
    """

    def __init__(self, module: nn.Module, attacker: Attacker, attacked: Sequence[nn.Parameter] | None = None) -> None:
        """``attacked``: the parameters that the attacker trains, all of the module's where it is None."""
        self.attacker, self.taken, self.broken = attacker, 0, False
        self._module = module
        self._attacked = list(module.parameters() if attacked is None else attacked)
        self._moved = [torch.zeros_like(parameter) for parameter in self._attacked]
        self._optimiser = OPTIMISERS[attacker.optimiser](self._attacked, lr=attacker.lr)

    @property
    def finished(self) -> bool:
        """Whether the attacker has made its updates, or can't go on."""
        return self.broken or self.taken >= self.attacker.steps

    def protect(
        self,
        attack_loss: AttackLoss,
        protect_loss: ProtectLoss,
        rng: np.random.Generator,
        *,
        every: int | None = None,
        steps: int | None = None,
        weight: float = 1.0,
    ) -> list[float]:
        """Attack, and at checkpoints add the protection's gradient at the attacked weights to the originals' ``.grad``.

        There is a checkpoint after the last update of this call and, with ``every``, after its 1st and each ``every``
        further ones.

        Args:
            attack_loss: what the attacker minimises, from (module, batch size, rng).
            protect_loss: what the protection minimises, from (module, rng); a scalar, as the other one.
            rng: all randomness that the losses use.
            steps: how many updates now; the rest of the attacker's where it is None.
            weight: of the average over the checkpoints.

        Returns:
            The protection's loss at each checkpoint.
        """
        left = self.attacker.steps - self.taken
        steps = left if steps is None else min(steps, left)
        stops = {steps, *(range(1, steps, every) if every else ())}
        trained = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        gradients, losses = [torch.zeros_like(parameter) for parameter in trained], []
        with self._in_place():
            for step in range(1, steps + 1):
                self._update(attack_loss, rng)
                if self.broken:
                    break
                if step in stops:
                    losses.append(_add_gradient(protect_loss(self._module, rng), trained, gradients))
        for parameter, gradient in zip(trained, gradients, strict=True):
            gradient *= weight / max(1, len(losses))
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return losses

    def attack(self, attack_loss: AttackLoss, rng: np.random.Generator) -> None:
        """The rest of the attacker's updates, with nothing learnt from them."""
        with self._in_place():
            while not self.finished:
                self._update(attack_loss, rng)

    @contextmanager
    def attacked(self) -> Iterator[nn.Module]:
        """The module with the attacker's weights in place."""
        with self._in_place():
            yield self._module

    def _update(self, attack_loss: AttackLoss, rng: np.random.Generator) -> None:
        loss = attack_loss(self._module, self.attacker.batch, rng)
        self.broken = not bool(loss.isfinite())
        if self.broken:
            return
        found = torch.autograd.grad(loss, self._attacked, allow_unused=True)
        for parameter, gradient in zip(self._attacked, found, strict=True):
            parameter.grad = gradient
        if self.attacker.clip:
            nn.utils.clip_grad_norm_(self._attacked, self.attacker.clip)
        self._optimiser.step()
        self.taken += 1

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """The attacker's weights for as long as this lasts; then the originals, bit for bit, with their gradients."""
        kept = [(p, p.detach().clone(), p.grad, p.requires_grad) for p in self._attacked]
        buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()]
        with torch.no_grad():
            for parameter, moved in zip(self._attacked, self._moved, strict=True):
                parameter.add_(moved).requires_grad_(True)
        try:
            yield
        finally:
            with torch.no_grad():
                for (parameter, original, gradient, trains), moved in zip(kept, self._moved, strict=True):
                    moved.copy_(parameter - original)
                    parameter.copy_(original).requires_grad_(trains)
                    parameter.grad = gradient
                for buffer, original in buffers:
                    buffer.copy_(original)

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` of an attack by the same attacker needs to go on from here."""
        return {
            "taken": self.taken,
            "broken": self.broken,
            "moved": self._moved,
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was taken."""
        self.taken, self.broken = state["taken"], state["broken"]
        for moved, stored in zip(self._moved, state["moved"], strict=True):
            moved.copy_(stored)
        self._optimiser.load_state_dict(state["optimiser"])


class PersistentAttack:
    """Attackers one after another, each of them at work for many training steps, a few updates in each.

    A state of its own (``state_dict``) lets a training that was cut off go on with the same attacker.
    """

    def __init__(
        self,
        module: nn.Module,
        attackers: Attackers,
        attacked: Sequence[nn.Parameter] | None = None,
        *,
        won: float = math.inf,
        workers: Workers = ALONE,
    ) -> None:
        """``attackers.steps`` is how long each goes on until the next one begins at the module's own weights.

        One against whom the protection's loss is above ``won`` has won and is not followed further: what is to be
        learnt lies where the protection gives way, not where it has. Several ``workers``' losses are added up.
        """
        self._workers = workers
        self._module, self._attackers, self._attacked, self._won = module, attackers, attacked, won
        self._now: SimulatedAttack | None = None

    def protect(
        self,
        attack_loss: AttackLoss,
        protect_loss: ProtectLoss,
        rng: np.random.Generator,
        *,
        steps: int,
        every: int | None = None,
        weight: float = 1.0,
    ) -> list[float]:
        """``SimulatedAttack.protect`` with the next ``steps`` updates of whoever attacks now."""
        if self._now is None or self._now.finished:
            self._now = SimulatedAttack(self._module, self._attackers.draw(rng), self._attacked)
        losses = self._now.protect(attack_loss, protect_loss, rng, every=every, steps=steps, weight=weight)
        if not losses or self._workers.gather(torch.tensor(losses[-1:])).sum() > self._won:
            self._now = None
        return losses

    def state_dict(self) -> dict[str, Any]:
        """Who attacks now and how far he is."""
        return {} if self._now is None else {"attacker": asdict(self._now.attacker), "attack": self._now.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was taken."""
        self._now = None
        if state:
            self._now = SimulatedAttack(self._module, Attacker(**state["attacker"]), self._attacked)
            self._now.load_state_dict(state["attack"])


def _add_gradient(loss: Tensor, trained: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> float:
    """Add the loss's gradient to ``gradients`` where the loss is finite; the loss."""
    if loss.isfinite():
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        for total, gradient in zip(gradients, found, strict=True):
            if gradient is not None:
                total += gradient
    return loss.item()
