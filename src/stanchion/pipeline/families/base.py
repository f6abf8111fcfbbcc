"""What a family of pipelines is: which names it uses, and how its denoiser is asked.

The seams know no family. A trajectory guard's prediction takes the place of ``model_output`` at ``scheduler.step``, so
a family need not say how its pipelines lay predictions out, only how to ask for one (``put``) and what the pipeline
would have done to a guided one (``finish``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import UnsupportedPipeline
from ...streams import TextStream
from ...types import Condition
from ..noise import NoiseProcess, process_of
from ..noise.flow import Flow
from ..stages import Stage
from ._arguments import ATTENTION, check_attention, check_instructions, check_unseen, parameters_of
from ._needs import NEEDS, Standing
from ._tokens import check_alike, check_texts
from ._values import Pass, Place, Said, Stream, beside, each, pick, plain, together

__all__ = ["TEXT", "Family", "Pass", "Place", "Said", "Stream", "beside", "check_alike", "each", "pick", "plain"]

TEXT = "encoder_hidden_states"


class Family(Standing):
    """Pipelines that condition and denoise alike. A file of this folder holds one; its defaults serve most.

    Attributes:
        name: the file's stem.
        classes: names of its diffusers classes.
        process: what its models were trained to reverse; its pipelines read x_t as schedulers of that kind hold it.
        denoisers: attributes of the pipeline that hold denoisers.
        encoders: attributes that hold text encoders and tokenizers; ``optional`` ones may be empty.
        encoding: arguments of a call on which it depends how texts are encoded.
        unrepeated: the argument of ``encode_prompt`` that says how many pictures of a prompt, where it repeats texts'
            states so often and states that were passed in not at all, on which the denoiser then spreads one row.
        scaled_by: the argument of a call whose ``scale`` a LoRA on the text encoders has; empty where none has.
        pictured_texts: whether texts are encoded with the call's picture, so that no other call has their states.
        states_of: the attribute that holds the encoder of the text states.
        reader: the attribute that holds the tokenizer of the token ids that guards see.
        parts: what artefacts call its text encoders (``TextStream.bases``), where that is no attribute's name.
        offers, variants: what guards find in the family, and how they work there (``_needs.py``).
        sample: the denoiser's input that holds latents.
        conditions: its inputs that say what to draw; the first are the text states.
        pooled: the one among them that is a single vector of the whole prompt.
        rowed: its other inputs with a row a picture.
        inputs: what else it may be given that says nothing about the prompt; anything else is refused.
        halves: the roles in one batched pass. Separate passes come prompt first.
        time_scale: turns the denoiser's timestep into the scheduler's.
        callbacks: arguments of a call that are the caller's own code, run between its steps.
        pictured: the beginnings of the paths of what turns latents into pictures.
        refused: arguments of the pipeline's call that no seam follows, and why.
        unseen, unseen_negative: arguments of a call that say something which no text guard reads, of either prompt.
        guidance: how to ask for guided predictions, which trajectory guards need.
        unguided: whether they may act on predictions without guidance as well.
        instructions: arguments of a call that tell the text encoder something beside the prompt.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    process: ClassVar[type[NoiseProcess]] = Flow
    denoisers: ClassVar[tuple[str, ...]] = ("transformer",)
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "tokenizer")
    optional: ClassVar[tuple[str, ...]] = ()
    encoding: ClassVar[tuple[str, ...]] = ()
    unrepeated: ClassVar[str] = ""
    scaled_by: ClassVar[str] = ""
    pictured_texts: ClassVar[bool] = False
    states_of: ClassVar[str] = "text_encoder"
    reader: ClassVar[str] = "tokenizer"
    parts: ClassVar[Mapping[str, str]] = {}
    sample: ClassVar[str] = "hidden_states"
    conditions: ClassVar[tuple[str, ...]] = (TEXT,)
    pooled: ClassVar[str | None] = None
    rowed: ClassVar[tuple[str, ...]] = ("timestep",)
    inputs: ClassVar[tuple[str, ...]] = ()
    halves: ClassVar[tuple[str, ...]] = ("negative", "prompt")
    time_scale: ClassVar[float] = 1.0
    callbacks: ClassVar[tuple[str, ...]] = ("callback_on_step_end", "callback")
    pictured: ClassVar[tuple[str, ...]] = ("vae.decoder.", "vae.post_quant_conv.")
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            "ip_adapter_image",
            "ip_adapter_image_embeds",
            "negative_ip_adapter_image",
            "negative_ip_adapter_image_embeds",
        ),
        "an image prompt would go past the guards, which know text conditions only",
    )
    unseen: ClassVar[tuple[str, ...]] = ("prompt_2", "prompt_3", "pooled_prompt_embeds")
    unseen_negative: ClassVar[tuple[str, ...]] = (
        "negative_prompt_2",
        "negative_prompt_3",
        "negative_pooled_prompt_embeds",
    )
    guidance: ClassVar[str] = "give guidance_scale above 1"
    unguided: ClassVar[bool] = False
    instructions: ClassVar[tuple[str, ...]] = ()

    def of(self, pipe: Any) -> Family:
        """The family of one pipeline of these classes: itself, unless the pipeline's parts say more than its class."""
        return self

    def denoisers_of(self, pipe: Any) -> list[Any]:
        """The denoisers that the pipeline holds."""
        return [one for name in self.denoisers if (one := vars(pipe).get(name)) is not None]

    @property
    def modules(self) -> tuple[str, ...]:
        """Attributes that must stay the same objects while a guard is attached."""
        return (*self.denoisers, "vae", *(name for name in self.encoders if name.startswith("text_encoder")))

    def named(self, part: str) -> str:
        """The attribute that holds what guards call "text_encoder" or "unet", or a stream; else the name itself."""
        return {"text_encoder": self.states_of, "unet": self.denoisers[0], **self.parts}.get(part, part)

    def arguments(self, pipe: Any, guidance_scale: float, count: int) -> dict[str, Any]:
        """The arguments of a call with which ``count`` pictures are guided that far, beside prompt, size and steps."""
        return {"guidance_scale": guidance_scale}

    def tokenizers_of(self, pipe: Any) -> list[Any]:
        """The tokenizers that the pipeline holds; a processor holds its own."""
        held = [vars(pipe).get(name) for name in self.encoders if name.startswith("tokenizer")]
        return [getattr(one, "tokenizer", one) for one in held]

    def drawn_with(self, output_type: str | None, ran: Sequence[str] = ()) -> tuple[str, ...]:
        """The beginnings of the paths of the modules without which no picture of this type is made.

        ``ran`` are the names of the denoisers that made it.
        """
        denoisers = dict.fromkeys((self.denoisers[0], *ran))
        return (*(f"{name}." for name in denoisers), *(() if output_type == "latent" else self.pictured))

    # --- text ----------------------------------------------------------------------------------------

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call on which it depends how texts are encoded."""
        options = {name: arguments[name] for name in self.encoding if name in arguments}
        if self.scaled_by:
            options["lora_scale"] = (arguments.get(self.scaled_by) or {}).get("scale")
        return options

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        """Texts as conditions, encoded as the call's prompt is; what a text does not decide is left out."""
        raise NotImplementedError

    def given(self, condition: Condition) -> dict[str, Tensor]:
        """The arguments of a call that draws under a condition, in a prompt's place."""
        beside = {"pooled_prompt_embeds": condition.extra[self.pooled]} if self.pooled else {}
        return {"prompt_embeds": condition.embeds, **beside}

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        """The text states in what ``encode_prompt`` returned to its ``calls``-th call of this picture, from 0."""
        return [Said("negative" if calls else "prompt", 0, arguments.get("prompt"))]

    def copies(self, arguments: Mapping[str, Any]) -> int:
        """How often the pipeline repeats what ``encode_prompt`` returned; most are told there, and repeat it there."""
        return 1

    def spoken(self, pipe: Any, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """Texts as the pipeline's tokenizers get them, by the arguments of its ``encode_prompt``."""
        return list(texts)

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        """The text encoders whose states the text states are, and where; one of a causal CLIP unless it says else."""
        return (TextStream(),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        """Which tokens the states (B, L, D) are of: one stream a tokenizer.

        Raises:
            UnsupportedPipeline: nobody knows; a language model's template is no text of the prompt's.
        """
        raise UnsupportedPipeline(f"which of {self.title}'s text states belong to which words is not known.")

    def tokens(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[Tensor, Tensor]:
        """(B, L) token ids of the states, and (B, L) bool that is true at the texts' own."""
        streams = self.token_streams(pipe, texts, states, options)
        return torch.cat([one.ids for one in streams], 1), torch.cat([one.content for one in streams], 1)

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        """(N, L, D) states of (N, L) token ids of the stream of that name."""
        raise UnsupportedPipeline(NEEDS["token_ids"])

    # --- denoiser ------------------------------------------------------------------------------------

    def check_parts(self, pipe: Any) -> None:
        """Refuse a pipeline whose parts are not what the family's usually are."""

    def check_denoiser(self, denoiser: Any) -> None:
        """Refuse a denoiser whose conditions the family does not know."""

    def check_scheduler(self, scheduler: Any) -> None:
        """Refuse a scheduler whose noise levels or predictions a guard could not read, or of another process."""
        if not isinstance(process_of(scheduler), self.process):
            raise UnsupportedPipeline(
                f"{type(scheduler).__name__} does not go by {self.process.known_as}, as {self.title} was trained and "
                f"its pipelines call it; use e.g. {self.process.example}."
            )

    def check_texts(self, arguments: Mapping[str, Any]) -> None:
        """Refuse prompts among arguments, of the pipeline or of its ``encode_prompt``, that a guard can't look into."""
        check_texts(arguments)

    def check_call(self, pipe: Any, arguments: Mapping[str, Any], guards: Sequence[Any] = (), reader: str = "") -> None:
        """Refuse arguments whose conditions one of these guards can't see or carry over to its predictions.

        ``reader`` is the name of one that goes by the prompt's text states alone, where one does.

        Raises:
            UnsupportedPipeline: with the argument's name.
            ConfigError: a prompt that is no text.
        """
        predicting = [guard for guard in guards if guard.stage is Stage.TRAJECTORY]
        self.check_texts(arguments)
        for name, why in self.refused.items():
            if arguments.get(name) is not None:
                raise UnsupportedPipeline(f"{name} is given, but {why}. Leave it out, or detach the guard.")
        check_attention(arguments)
        if not all(guard.watches for guard in predicting) and not self.guided(pipe, arguments):
            raise UnsupportedPipeline(
                "this call draws without guidance, and what a guard that steers does to predictions that were distilled"
                f" from guided ones was never measured: {self.guidance}, or use a guard of another stage."
            )
        if reader or predicting:
            check_instructions(self.instructions, pipe, arguments)
        if reader:
            reads = any(guard.stage is Stage.TEXT for guard in guards)
            unseen = (*self.unseen, *(self.unseen_negative if reads else ()))
            check_unseen(unseen, reader, arguments)

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        """Whether a call asks for guided predictions."""
        return float(arguments.get("guidance_scale") or 0.0) > 1.0

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Refuse a pass of the denoiser that is given a condition which no seam knows.

        Raises:
            UnsupportedPipeline: with the input's name.
        """
        known = {self.sample, *self.conditions, *self.rowed, *self.inputs, *ATTENTION, "return_dict"}
        for name, value in inputs.items():
            if value is not None and name not in known:
                raise UnsupportedPipeline(f"the denoiser was given {name}, and no seam knows that condition.")
        check_attention(inputs)

    def bind(self, denoiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pass:
        """A call of the denoiser by its parameters' names."""
        placed = parameters_of(type(denoiser).forward)[1 : len(args) + 1]
        return Pass({**dict(zip(placed, args, strict=True)), **kwargs}, placed=placed)

    def unbind(self, one: Pass) -> dict[str, Any]:
        """The inputs of a pass as the denoiser takes them."""
        return one.inputs

    def run(self, denoiser: Any, one: Pass) -> Any:
        """Call the denoiser as the pipeline does."""
        inputs = dict(self.unbind(one))
        return denoiser(*[inputs.pop(name) for name in one.placed], **inputs)

    def time(self, one: Pass, denoiser: Any) -> float:
        """The scheduler's timestep of a pass."""
        return float(torch.as_tensor(one.inputs["timestep"]).flatten()[0]) * self.time_scale

    def count(self, one: Pass) -> int:
        """Rows of a pass."""
        return len(one.inputs[self.sample])

    def roles(self, one: Pass, batch: int, place: int) -> dict[str, Pass]:
        """The conditions in the ``place``-th pass of a step of ``batch`` pictures: their rows, by role.

        Raises:
            UnsupportedPipeline: another number of conditions than the family's pipelines have.
        """
        count, rest = divmod(self.count(one), batch)
        if rest or count not in (1, len(self.halves)) or (place and count != 1) or place > 1:
            raise UnsupportedPipeline(
                f"{self.count(one)} rows at pass {place + 1} of a step of {batch} pictures; {self.title} is known with "
                f"{len(self.halves)} conditions in one pass, or in two."
            )
        names = self.halves if count > 1 else ("negative" if place else "prompt",)
        return {role: replace(one, rows=slice(at * batch, (at + 1) * batch)) for at, role in enumerate(names)}

    def condition(self, one: Pass) -> Condition:
        """What conditions the pass's rows."""
        values = {name: one.inputs.get(name) for name in self.conditions}
        picked = {name: each(lambda value: value[one.rows], value) for name, value in values.items()}
        return Condition(picked.pop(self.conditions[0]), picked)

    def put(self, one: Pass, conditions: Sequence[Condition], sample: Tensor, rows: Tensor | None = None) -> Pass:
        """A pass that predicts for each condition at ``sample``, the latents as the denoiser reads them.

        Args:
            one: the prompt's pass: what a condition does not say is taken from there.
            sample: (B, …), or (len(rows), …) where ``rows`` says which pictures these are.
        """
        copies, inputs = len(conditions), dict(one.inputs)
        for name in self.rowed:
            value = inputs.get(name)
            if value is not None:
                inputs[name] = self._rows_of(value, one, rows, copies)
        was = pick(inputs[self.sample][one.rows], rows)
        inputs[self.sample] = torch.cat([beside(sample, was)] * copies)
        own = self.condition(one)
        for name in (name for name in self.conditions if name in inputs):
            values = [self._value(name, condition, own, len(sample), rows) for condition in conditions]
            inputs[name] = together(values)
        return replace(one, inputs=inputs, rows=slice(None), pictures=rows)

    def _rows_of(self, value: Any, one: Pass, rows: Tensor | None, copies: int) -> Any:
        """The prompt's rows of an input that has one a picture."""
        if not value.ndim or len(value) != self.count(one):
            return value
        return torch.cat([pick(value[one.rows], rows)] * copies)

    def _value(self, name: str, condition: Condition, own: Condition, count: int, rows: Tensor | None) -> Any:
        value = condition.embeds if name == self.conditions[0] else {**own.extra, **condition.extra}[name]

        def chosen(tensor: Tensor) -> Tensor:
            tensor = pick(plain(tensor), rows)
            return tensor.expand(count, *tensor.shape[1:])

        return each(chosen, value)

    def fits_together(self, first: Condition, second: Condition) -> bool:
        """Whether two conditions can share a pass."""
        return first.embeds.shape[1:] == second.embeds.shape[1:]

    def outputs(self, answer: Any, latents: Tensor, count: int) -> list[Tensor]:
        """What the denoiser answered for ``count`` conditions, each as the scheduler takes it.

        Learned variances and tokens beside x_t are cut off.
        """
        raw = answer[0]
        for dim in range(1, latents.ndim):
            raw = raw.narrow(dim, 0, latents.shape[dim])
        return list(raw.chunk(count))

    def blank(self, one: Pass, denoiser: Any) -> Any:
        """What the pipeline's own arithmetic gets while its call is noted: ones, for some families divide by a norm."""
        return torch.ones_like(one.inputs[self.sample])

    def mapped(self, latents: Tensor, one: Pass) -> Tensor:
        """Latents (B, …) of a pass as the map (B, C, h, w) that they are of a picture, where they are packed."""
        return latents

    def resumed(self, pipe: Any, latents: Tensor) -> Tensor:
        """What a call takes as ``latents``, of what another gave as ``output_type="latent"``."""
        return latents

    # --- guidance ------------------------------------------------------------------------------------

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        """s in e + s (p - e), for a step whose passes had these roles: 1 where there was no second prediction."""
        return float(pipe.guidance_scale) if "negative" in roles else 1.0

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        """What the pipeline does to a guided prediction: rescaling, norms. ``prompt`` is the prompt's prediction."""
        return guided

    # --- parts ---------------------------------------------------------------------------------------

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """Every projection of text tokens in the denoiser's attention, in the model's order."""
        found: list[Place] = []
        for name, module in denoiser.named_modules():
            if getattr(module, "add_k_proj", None) is not None:
                found += [Place(name, one, getattr(module, f"add_{one}_proj"), once=False) for one in which]
            elif name.endswith("attn2"):
                found += [Place(name, one, getattr(module, f"to_{one}")) for one in which]
        return found

    def text_rows(self, place: Place, inputs: Mapping[str, Any]) -> slice:
        """The tokens of a projection's input that are text, in a pass with these inputs."""
        if place.rows == "all":
            return slice(None)
        length = inputs[self.conditions[0]].shape[1]
        return slice(0, length) if place.rows == "first" else slice(-length, None)
