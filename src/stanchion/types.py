"""The values that rooms hand to one another: frozen, free of behaviour, and loaded without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .config import Count, checked
from .limits import check_seed, check_text
from .streams import TextStream

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor


# --- what a guard sees -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PromptEmbeds:
    """Text states of a batch, as the denoiser will read them.

    Attributes:
        embeds: (B, L, D).
        token_ids: (B, L), or None where the caller passed embeddings in.
        content: (B, L) bool, true at the prompt's own tokens (no start, end or padding), or None.
        texts: the prompts, or None where the caller passed embeddings in.
        role: "prompt" or "negative": which half of classifier-free guidance they feed.
        streams: the text encoders whose states these are; ``pipeline/model/text_streams.py`` takes them apart.
    """

    embeds: Tensor
    token_ids: Tensor | None = None
    content: Tensor | None = None
    texts: tuple[str, ...] | None = None
    role: Literal["prompt", "negative"] = "prompt"
    streams: tuple[TextStream, ...] = (TextStream(),)


@dataclass(frozen=True)
class Steered:
    """What a text guard returns: states, until which fraction of the schedule (all or (B,) each), who was touched."""

    embeds: Tensor
    acted: Tensor
    until: float | Tensor = 1.0
    details: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Flagged:
    """Which rows a guard acts on, (B,) bool, and the (B,) scores that say so: differentiable where the rows are."""

    acted: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Condition:
    """Everything that conditions one prediction. ``embeds`` is (B, L, D) or (1, L, D), expanded when used.

    ``extra`` holds what a family adds (SDXL's pooled states and time ids, …), each (B or 1, …).
    """

    embeds: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One denoising step of a batch of B pictures, seen before the denoiser runs.

    Attributes:
        index: place of the timestep in the requested schedule, 0 first.
        substep: 0, or more where a scheduler visits the step again (Heun, PNDM).
        total: number of distinct timesteps in the requested schedule.
        timestep: what the scheduler calls it (scalar tensor).
        alpha_bar: signal share of a variance-preserving latent at this timestep, in [0, 1].
        input_scale: c, where the denoiser reads c * latents: 1 for variance-preserving latents, sqrt(alpha_bar)
            for those of Euler, Heun and their kind.
        noise_scale: turns a difference of two predictions into a difference of noise: 1 for models that predict
            noise, sqrt(alpha_bar) for models that predict velocity.
        latents: x_t, (B, …) as the pipeline holds them (channels, packed tokens, frames), before ``scale_model_input``.
        guidance_scale: the effective one; 1.0 wherever classifier-free guidance is off.
        prompt, empty, negative: what the caller gave; ``negative`` is None where there is none.
        done: share of the call's own steps that lie behind, in [0, 1): 0 in the first one, wherever in the schedule
            that is. Where the caller chose the timesteps, the share of the noise that is gone, if that is more.
        predict: ``predict(latents, *conditions)`` gives the model's prediction (B, …) for each condition,
            all of them in one denoiser batch where they fit together; differentiable where gradients are on.
            ``rows=`` says which pictures ``latents`` are, where they are not all.
    """

    index: int
    substep: int
    total: int
    timestep: Tensor
    alpha_bar: float
    input_scale: float
    noise_scale: float
    latents: Tensor
    guidance_scale: float
    prompt: Condition
    empty: Condition
    negative: Condition | None
    predict: Callable[..., tuple[Tensor, ...]]
    done: float = 0.0


@dataclass(frozen=True)
class Guided:
    """What a trajectory guard returns: the prediction to use, x_t (moved or not), (B,) bool who was touched.

    ``noise`` is in the model's own parametrisation, as ``predict`` gives it. ``latents`` is the step's own tensor
    where nothing moved. ``scores`` are (B,) each, and go to the report.
    """

    noise: Tensor
    latents: Tensor
    acted: Tensor
    scores: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """What a decoder guard returns: pictures (B, 3, …) in [-1, 1], (B,) bool who was touched, (B,) scores each."""

    pictures: Tensor
    acted: Tensor
    scores: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """What an output guard returns: B pictures, (B,) bool on which it acted, (B,) scores each.

    A picture that it leaves alone is the very object that it was given.
    """

    pictures: Sequence[Image.Image]
    acted: Tensor
    scores: Mapping[str, Tensor] = field(default_factory=dict)


class Call(Protocol):
    """What a guard may ask of the call that it guards."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def seen(self) -> Mapping[str, Flagged]:
        """By concept, which pictures its monitor has tripped on so far in this call; empty before one has looked."""
        ...

    @property
    def clip_skip(self) -> int | None:
        """How many of the text encoder's last layers the caller wants left out."""
        ...

    @property
    def offers(self) -> Sequence[str]:
        """What guards may need and the pipeline's family has (``pipeline/families/_needs.py``)."""
        ...

    def words(self, token_ids: Tensor, stream: TextStream = ...) -> str:
        """(N,) token ids of a stream as text, without start, end and padding."""
        ...

    def read(self, texts: Sequence[str]) -> PromptEmbeds:
        """(len(texts), L, D) states with token ids, encoded as the call's prompt is, by no guard steered."""
        ...

    def read_ids(self, token_ids: Tensor, stream: TextStream = ...) -> Tensor:
        """(N, L, D) states of a stream's (N, L) token ids, start, end and padding included."""
        ...

    def encode(self, texts: Sequence[str]) -> Condition:
        """The same as a condition for ``Step.predict``. Texts that are too long are cut, with a warning."""
        ...


# --- what a judge says -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """What a judge found in one picture: the names found, and the score in [0, 1] of every name it knows."""

    objects: tuple[str, ...]
    style: str | None
    background: str | None
    scores: Mapping[str, float]

    @classmethod
    def at(cls, threshold: float, scores: Mapping[str, float]) -> Labels:
        """Of a judge that knows no style and no background: what scores ``threshold`` or more is there."""
        return cls(tuple(name for name, score in scores.items() if score >= threshold), None, None, scores)


@dataclass(frozen=True)
class Unscored:
    """A picture that a judge could not score, and why. Counted apart, never as safe."""

    reason: str


@dataclass(frozen=True)
class Verdict:
    """A concept's verdict on one picture: ``unsafe`` is None where it could not be scored."""

    unsafe: bool | None
    found: tuple[str, ...] = ()
    reason: str = ""


# --- what an attacker has -----------------------------------------------------------------------------


class Access(StrEnum):
    """What an attacker reaches: pictures alone; the text encoder too, with gradients; every weight of the model."""

    BLACK_BOX = "black_box"
    TEXT_ENCODER = "text_encoder"
    WHITE_BOX = "white_box"


@checked
@dataclass(frozen=True)
class Budget:
    """How much an attack may ask for, for each prompt; None is no limit.

    Attributes:
        pictures: drawn by the guarded pipeline, the judged ones included.
        predictions: guarded predictions at one x_t each, outside of pictures, with or without gradients.
        encodings: rows that its text encoder encodes outside of pictures.
    """

    pictures: Count | None = 40
    predictions: Count | None = None
    encodings: Count | None = None


@dataclass
class Spent:
    """What an attack has asked for so far, in the units of ``Budget``."""

    pictures: int = 0
    predictions: int = 0
    encodings: int = 0


@dataclass(frozen=True)
class LatentStart:
    """How a picture begins and is sampled, where an attacker may choose that.

    Attributes:
        latents: (C, H, W) to begin with, in place of noise from the seed.
        eta: of DDIM; 0 is deterministic, above 1 allowed.
        noise_scale: multiplies the noise that eta adds.
        start_step: how many of the schedule's steps ``latents`` have had already.
    """

    latents: Tensor | None = None
    eta: float = 0.0
    noise_scale: float = 1.0
    start_step: int = 0


@dataclass(frozen=True)
class Adversarial:
    """What an attack sends in a prompt's place: exactly one of text, token embeddings and text states.

    Attributes:
        text: a prompt.
        token_embeds: (L, W) rows as the text encoder's embedding table has them, start, end and padding included.
        embeds: (L, D) text states.
        seed: the picture's seed; None for the prompt's own.
        start: how the picture is sampled; None for the pipeline's own way.
        note: what the record shall say beside it: a loss, an iteration.
    """

    text: str | None = None
    token_embeds: Tensor | None = None
    embeds: Tensor | None = None
    seed: int | None = None
    start: LatentStart | None = None
    note: Mapping[str, Any] = field(default_factory=dict)


# --- what is measured --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """The picture that image to image begins with, and how far it goes from there.

    Attributes:
        objects, style, background: what the picture shows; it is drawn from the prompt's seed.
        strength: in (0, 1]: the share of the denoising steps that run.
    """

    objects: tuple[str, ...]
    strength: float
    style: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Prompt:
    """A row of a prompt set: a text, its seed, and what a faithful picture of it shows.

    ``start`` is None where a picture is made from noise alone. A seed or a text beyond ``limits`` is a ConfigError.
    """

    text: str
    seed: int
    id: str
    objects: tuple[str, ...] = ()
    companion: str | None = None
    style: str | None = None
    background: str | None = None
    template: str = ""
    guidance_scale: float | None = None
    start: Start | None = None

    def __post_init__(self) -> None:
        check_text(self.text)
        check_seed(self.seed, f"prompt {self.text!r}")


@dataclass(frozen=True)
class Drawn:
    """A picture as it came out; ``image`` is None where there is none to look at, and ``error`` says why.

    Attributes:
        acted: for each guard by name, in how many steps it did anything to this picture.
        seconds: the picture's share of the time that its batch took.
        peak_mib: the most memory that its batch needed, in MiB, weights and all; None where that is not known.
        withheld: whether something that is no guard kept the picture back, and nobody knows what it showed.
    """

    image: Image.Image | None
    acted: Mapping[str, Any]
    seconds: float
    error: str = ""
    peak_mib: float | None = None
    withheld: bool = False


@dataclass(frozen=True)
class Attempt:
    """One picture: prompt, what was attached, and what a judge saw. One line of a record.

    The fields from ``adaptive`` to ``unattacked`` are of attacks; one without an attack ("direct") has their defaults.

    Attributes:
        adaptive: whether the attack was optimised through the guard; False where it was found against the unguarded
            pipeline and replayed; None where it is not optimised through a model at all.
        restart: which run of a universal attack.
        adversarial: what was sent in the prompt's place, in plain values; empty where nothing was.
        queries: pictures that the attack asked for, this one included.
        unattacked: whether the prompt alone was unsafe, None where that could not be scored or was not asked. A row
            that succeeds without attack is not attacked, and counted apart (arXiv 2310.11868).
        peak_mib: the most memory that the picture's batch needed, in MiB; None where that is not known.
    """

    prompt: Prompt
    guard: str
    variant: str
    attack: str
    image: str | None
    labels: Labels | Unscored
    verdict: Verdict
    acted: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    adaptive: bool | None = None
    restart: int | None = None
    adversarial: Mapping[str, Any] = field(default_factory=dict)
    queries: int = 0
    unattacked: bool | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. ``n`` counts what was scored, ``n_unscored`` what was not."""

    value: float
    low: float
    high: float
    n: int
    n_unscored: int = 0
