"""Updates of an optimiser, as every attack that trains makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor, nn, optim

from ..config import Count, Filled, Natural, Positive, checked
from ..errors import ConfigError

Optimiser = Literal["sgd", "nesterov", "adam", "adamw", "adadelta", "rmsprop"]
Loss = Callable[[torch.Generator], Tensor]

MAKE: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": partial(optim.SGD, momentum=0.9, weight_decay=1e-4),
    "nesterov": partial(optim.SGD, momentum=0.9, weight_decay=1e-4, nesterov=True),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adadelta": partial(optim.Adadelta, rho=0.9),
    "rmsprop": partial(optim.RMSprop, alpha=0.99),
}


@checked
@dataclass(frozen=True)
class Updates:
    """How an attacker trains.

    Attributes:
        optimiser: momentum is 0.9 for the first two, with weight decay 1e-4; the others are torch's own, but for rho
            0.9 of Adadelta (the five of arXiv 2510.16581, and AdamW).
        lr: learning rate, constant.
        batch: samples an update.
        clip: largest norm of the whole gradient; None for any.
        stops: numbers of updates at which the curve is read, ascending.
    """

    optimiser: Optimiser = "adam"
    lr: Positive = 1e-4
    batch: Natural = 16
    clip: Positive | None = None
    stops: Annotated[tuple[Count, ...], Filled()] = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500)

    def __post_init__(self) -> None:
        if list(self.stops) != sorted(set(self.stops)):
            raise ConfigError(f"stops must ascend, got {self.stops!r}.")


def descend(parameters: Sequence[Tensor], loss: Loss, settings: Updates, generator: torch.Generator) -> Iterator[int]:
    """Yields at each stop, with ``parameters`` as so many updates on ``loss(generator)`` left them.

    Ends early where a parameter is no longer finite: nothing can be drawn from there on.
    """
    optimiser = MAKE[settings.optimiser](parameters, settings.lr)
    done = 0
    for stop in settings.stops:
        for _ in range(stop - done):
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss(generator), parameters), strict=True):
                parameter.grad = gradient
            if settings.clip is not None:
                nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimiser.step()
        if not all(parameter.isfinite().all() for parameter in parameters):
            return
        done = stop
        yield stop
