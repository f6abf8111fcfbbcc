"""The picture monitor: a small network sees the concept in the predicted picture while it is drawn, whatever the words.

It reads x0, the picture that a step's prediction sees in x_t, as latents, and how noisy x_t is. A step in which it
finds the concept is a hit; after a few hits it has tripped on that picture, to the end of the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ...concepts import Concept
from ...config import Natural, Range, Share, checked
from ...errors import ConfigError, GuardRefused, UnsupportedPipeline
from ...pipeline.seams.prediction import unsteered
from ...pipeline.straight_through import straight_through
from ...types import Call, Condition, Flagged, Guided, Step
from ..base import MonitorGuard, across
from ..triggers import anchors_of

WIDTHS = (40, 64, 80)  # channels; 140 thousand weights with four channels of latents
HIDDEN = 48
REACH = 4.0  # latents beyond are cut off: the first steps' predictions of some models are wild
TEMPER = 8.0  # a probability of the logit itself is 1 to all digits, and would hide the gradient


@checked
@dataclass(frozen=True)
class MonitorSettings:
    """When it trips, and what happens then.

    Attributes:
        look_from: share of signal in x_t (alpha-bar) from which on it looks, in [0, 1]; 0 is from the first step.
        threshold: probability from which on a step is a hit.
        release: probability below which a step takes back the hits so far; at most ``threshold``. What it has tripped
            on stays so.
        hits: how many it takes.
        finished: probability from which on the last step's look is a hit, of which one is enough. That look is the
            surest: harmless pictures read higher while they are still noise.
        action: "anchor" draws the concept's first anchor phrase from there on (the empty prompt where it has none);
            "refuse" makes no picture; "tell" does nothing but tell guards of its concept with ``when="monitor"``.
            Those hear of it whatever the action is.
        still: what becomes of a picture in which it sees the concept in the last step although the anchor was drawn:
            "refuse" makes none, "keep" hands it over.
    """

    look_from: Share = 0.1
    threshold: Annotated[float, Range(0, 1, above=True, below=True)] = 0.8
    release: Share = 0.4
    hits: Natural = 2
    finished: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5
    action: Literal["anchor", "refuse", "tell"] = "anchor"
    still: Literal["refuse", "keep"] = "refuse"


class PictureNetwork(nn.Module):
    """Latents (B, C, H, W) of any size and their share of signal to (B,) logits: is the concept in them?"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.first = nn.Conv2d(channels + 2, first, 3, padding=1)
        self.second = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.third = nn.Conv2d(second, third, 3, stride=2, padding=1)
        self.fourth = nn.Conv2d(third, third, 3, padding=1)
        self.hidden = nn.Linear(2 * third, HIDDEN)
        self.last = nn.Linear(HIDDEN, 1)

    def forward(self, clean: Tensor, alpha_bar: Tensor) -> Tensor:
        """``alpha_bar`` is () or (B,)."""
        levels = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()], -1).expand(len(clean), 2)
        maps = levels[:, :, None, None].expand(-1, -1, *clean.shape[2:])
        seen = torch.cat([clean.clamp(-REACH, REACH), maps], 1)
        for layer in (self.first, self.second, self.third, self.fourth):
            seen = silu(layer(seen))
        both = torch.cat([seen.amax((2, 3)), seen.mean((2, 3))], 1)
        logits: Tensor = self.last(silu(self.hidden(both)))
        return logits[:, 0]


def network_of(tensors: Mapping[str, Tensor], device: torch.device) -> PictureNetwork:
    """A network with these weights in float32; it learns nothing."""
    with torch.device("meta"):
        network = PictureNetwork(tensors["first.weight"].shape[1] - 2)
    network.load_state_dict({name: value.to(device, torch.float32) for name, value in tensors.items()}, assign=True)
    return network.requires_grad_(False).eval()


@dataclass
class State:
    """One call: what to draw instead, how often it looked, (B,) hits in a row, and on whom it has tripped."""

    anchor: Condition | None
    looks: int = 0
    hits: Tensor | None = None
    tripped: Tensor | None = None


class Monitor(MonitorGuard):
    """A trained look at the predicted picture, behind whatever steers; it trips, and then draws an anchor or refuses.

    Of no paper. Trained by the recipe of the same name; tensors: the layers of ``PictureNetwork``. It knows the
    latents of one model, and is refused on others.

    With gradients on, its choice has the gradient of the logit over ``TEMPER``: no sigmoid, which would saturate.
    Attackers see each step by itself, as if it had its hits; where it would refuse they see the anchor's prediction.
    """

    name = "monitor"
    Settings = MonitorSettings
    settings: MonitorSettings
    needs = ("maps",)
    wishes = ("training",)
    learns_on = ("maps",)
    trained = True
    based_on = ("unet", "vae")

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._on: dict[torch.device, PictureNetwork] = {}

    @classmethod
    def check_fit(cls, concept: Concept, settings: Any) -> None:
        """Also that what it has tripped on is not released at once."""
        if settings.release > settings.threshold:
            raise ConfigError(f"monitor: release is {settings.release}, above the threshold {settings.threshold}.")

    def check_tensors(self) -> None:
        """Also that they are a network's layers."""
        super().check_tensors()
        first = self.tensors.get("first.weight", torch.zeros(1, 6))
        with torch.device("meta"):
            layers = PictureNetwork(max(1, first.shape[1] - 2) if first.ndim > 1 else 1).state_dict()
        self.check_shapes({name: tuple(value.shape) for name, value in layers.items()})

    def begin(self, call: Call) -> State:
        """Encode the anchor."""
        return State(call.encode(anchors_of(self.concept)[:1]))

    def due(self, step: Step, state: State) -> bool:
        """From ``look_from`` on, and after its first look whatever way the schedule takes; and in the last step."""
        return step.alpha_bar >= self.settings.look_from or state.looks > 0 or is_last(step)

    def look(self, step: Step, clean: Tensor, state: State) -> Flagged:
        """Hits of this step; the scores are logits over ``TEMPER``.

        Raises:
            UnsupportedPipeline: latents of another kind than those that it was trained on.
        """
        channels = self.tensors["first.weight"].shape[1] - 2
        if clean.ndim != 4 or clean.shape[1] != channels:
            raise UnsupportedPipeline(
                f"the monitor reads latents ({channels}, H, W), and this model's are {tuple(clean.shape[1:])}."
            )
        return self.hits(clean, step.alpha_bar, last=is_last(step))

    def hits(self, clean: Tensor, alpha_bar: float, *, last: bool = False) -> Flagged:
        """Which of predicted pictures (B, C, H, W) at a share of signal are hits; ``last`` in the last step."""
        if clean.device not in self._on:
            network = network_of(self.tensors, clean.device)
            self._on[clean.device] = network.to(memory_format=torch.channels_last)  # takes two thirds of the time
        logits = self._on[clean.device](clean, torch.tensor(alpha_bar, device=clean.device))
        counts = last or alpha_bar >= self.settings.look_from
        from_there = self.settings.finished if last else self.settings.threshold
        return Flagged((probability(logits / TEMPER) >= from_there) & counts, logits / TEMPER)

    def settle(self, step: Step, flagged: Flagged, state: State) -> Flagged:
        """On whom it has tripped by now.

        Raises:
            GuardRefused: of action "refuse", if there is anybody; of "anchor", if one of them shows the concept in the
                last step all the same.
        """
        tripped, s = self.count(flagged, state, last=is_last(step)), self.settings
        if s.action == "refuse":
            self._refuse(step, flagged, tripped)
        if (s.action, s.still) == ("anchor", "refuse") and is_last(step):
            self._refuse(step, flagged, tripped & flagged.acted)
        return Flagged(tripped, flagged.scores)

    def count(self, flagged: Flagged, state: State, *, last: bool) -> Tensor:
        """(B,) on whom it has tripped, one step's hits later; in the last step one hit is enough."""
        if state.hits is None or state.tripped is None:
            state.hits, state.tripped = torch.zeros_like(flagged.acted).long(), torch.zeros_like(flagged.acted)
        calm = probability(flagged.scores) < self.settings.release
        state.hits = torch.where(flagged.acted, state.hits + 1, torch.where(calm, 0, state.hits))
        state.looks += 1
        enough = flagged.acted if last else state.hits >= self.settings.hits
        state.tripped = state.tripped | enough
        return state.tripped

    def _refuse(self, step: Step, flagged: Flagged, whom: Tensor) -> None:
        if not whom.any():
            return
        place, seen = int(whom.nonzero()[0]), probability(flagged.scores.detach()).tolist()
        raise GuardRefused(
            f"guard 'monitor' saw {self.concept.name!r} in picture {place + 1} of {len(whom)} at step "
            f"{step.index + 1} of {step.total} (probability {seen[place]:.3f}); no image was made.",
            guard=self.name,
            stage=str(self.stage),
            concept=self.concept.name,
            place=place,
            scores={"seen": seen},
        )

    def answer(self, step: Step, guided: Guided, flagged: Flagged, state: State) -> Guided:
        """The anchor's prediction where it has tripped."""
        scores = {"seen": probability(flagged.scores.detach()), "monitor": flagged.scores}
        acts = flagged.acted if self.settings.action != "tell" else torch.zeros_like(flagged.acted)
        soft = flagged.scores.requires_grad and self.settings.action != "tell"
        if not (acts.any() or soft):
            return replace(guided, acted=acts, scores=scores)
        anchor = unsteered(replace(step, latents=guided.latents), state.anchor)
        noise = torch.where(across(acts, anchor), anchor, guided.noise)
        if soft and step.alpha_bar >= self.settings.look_from:
            noise = straight_through(noise, flagged.scores, anchor - guided.noise)
        return replace(guided, noise=noise, acted=acts, scores=scores)


def is_last(step: Step) -> bool:
    """Whether nothing comes after it."""
    return step.index == step.total - 1


def probability(scores: Tensor) -> Tensor:
    """In [0, 1], of logits over ``TEMPER``."""
    return (TEMPER * scores).sigmoid()
