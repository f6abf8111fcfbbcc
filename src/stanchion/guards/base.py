"""What a guard is: a function on the one tensor that its stage is about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image
from torch import Tensor

from .. import config
from ..concepts import Concept, load_concept
from ..errors import ArtefactError, ConfigError
from ..hub.repository import fetch, push
from ..pipeline.attach.attachment import Attachment, Cover
from ..pipeline.model.base_weights import weights_hash
from ..pipeline.seams.decode import Decode
from ..pipeline.stages import Stage
from ..types import Call, Checked, Decoded, Flagged, Guided, PromptEmbeds, Steered, Step
from .artefact import check_runs_nothing, read_artefact, tensors_of, write_artefact


class Guard(ABC):
    """A defence that can be attached to a pipeline.

    A guard holds its concept, its settings and, where it was trained, its tensors; nothing of a call, so that
    threads and pipelines may share it. A call's own state is what ``begin`` returns.

    Attributes:
        name: the file's stem.
        stage: the folder.
        Settings: a frozen dataclass; its fields are the guard's settings, and the command line's options.
        needs: what it asks of a family of pipelines beside its stage (``pipeline/families/_needs.py``); where a family
            does not offer that, attaching is refused.
        wishes: what it does without where a family does not offer it.
        trained: whether it needs tensors that a recipe of the same name makes.
        learns_on: what that recipe asks of a family; where it is not offered, tensors must come from elsewhere.
        base: the weights that its tensors belong to: a module of the pipeline ("text_encoder", "transformer") and its
            hashes (``base_of``); checked when it is attached.
        based_on: the names that ``base`` must hold: modules, or "weights" for what ``weights`` replaces.
        training: what its recipe says of how it was made: settings, seed, seconds.
        origin: of one that a file of the user's defines: its name and hash.
        watches: whether it only looks at what the guard that steers the trajectory would use (``MonitorGuard``).
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    Settings: ClassVar[type] = config.NoSettings
    needs: tuple[str, ...] = ()
    wishes: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[bool] = False
    learns_on: ClassVar[tuple[str, ...]] = ("training",)
    based_on: tuple[str, ...] = ()
    origin: ClassVar[str] = ""
    watches: ClassVar[bool] = False

    def __init__(
        self,
        concept: str | Concept,
        *,
        tensors: Mapping[str, Tensor] | None = None,
        base: Mapping[str, str] | None = None,
        training: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.concept = load_concept(concept)
        self.settings: Any = config.from_dict(self.Settings, settings, where=self.name)
        self.check_fit(self.concept, self.settings)
        self.tensors: dict[str, Tensor] = dict(tensors or {})
        self.base: dict[str, str] = dict(base or {})
        self.training: dict[str, Any] = dict(training or {})
        if self.trained and not self.tensors:
            raise untrained(self.name)

    @classmethod
    def check_fit(cls, concept: Concept, settings: Any) -> None:
        """Whether its settings, each in its range, fit one another and the concept. Loads nothing: it is asked early.

        Raises:
            ConfigError: they don't.
        """
        return

    @property
    def identity(self) -> str:
        """Names everything that decides what the guard does: concept, settings, tensors."""
        tensors = weights_hash(self.tensors)
        about = [self.name, self.concept.to_dict(), config.to_dict(self.settings), tensors]
        return config.fingerprint([*about, self.origin] if self.origin else about)

    @property
    def asks_monitor(self) -> bool:
        """Whether its ``when`` waits for a monitor of its concept, which must then stand beside it."""
        return waits_for_monitor(self.settings)

    def reads_prompt(self, offers: Sequence[str]) -> bool:
        """Whether what it does hangs on the prompt's text states alone, on a family that offers this.

        Then whatever else says what to draw (``prompt_2``, a pooled vector) must say the same.
        """
        return self.stage is Stage.TEXT

    def check_base(self) -> None:
        """Whether it says of which weights its tensors are, so that they are never put on others.

        Raises:
            ArtefactError: it does not.
        """
        wanted = self.based_on or (("a module",) if self.tensors and not self.base else ())
        if missing := sorted(set(wanted) - set(self.base)):
            raise ArtefactError(
                f"guard {self.name!r}: its base does not name {', '.join(missing)}, so nobody knows to which model its "
                f"tensors belong; train it again: 'stanchion train {self.name} --concept … --output FOLDER'."
            )

    def check_streams(self, streams: Sequence[str], cover: str) -> None:
        """Whether it can read every text encoder's states of a pipeline, by their names (``TextStream.name``).

        Asked of guards that need "streams".

        Raises:
            ArtefactError: it was trained for others.
        """
        return

    def check_tensors(self) -> None:
        """Whether its tensors can be what a recipe makes; a guard of which more is known checks that too.

        Raises:
            ArtefactError: they hold NaN, infinity or whole numbers, or nothing but zeros.
        """
        self.check_finite()
        if self.tensors and not any(value.any() for value in self.tensors.values()):
            raise ArtefactError(f"guard {self.name!r}: all its tensors are zero; train it again.")

    def check_finite(self) -> None:
        """Whether its tensors hold numbers that can be reckoned with; asked again when it is attached.

        Raises:
            ArtefactError: they hold NaN, infinity or whole numbers.
        """
        for name, value in self.tensors.items():
            if not (value.is_floating_point() and value.isfinite().all()):
                raise ArtefactError(f"guard {self.name!r}: {name} ({value.dtype}) holds what is no finite number.")

    def check_shapes(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Whether its tensors are these, and no others.

        Raises:
            ArtefactError: one is missing, of another shape, or more than are wanted.
        """
        held = {name: tuple(value.shape) for name, value in self.tensors.items()}
        for name in sorted({*held, *wanted}):
            if held.get(name) != wanted.get(name):
                raise ArtefactError(
                    f"guard {self.name!r}: tensor {name} is {held.get(name, 'missing')}, where "
                    f"{wanted.get(name, 'none')} is wanted; train it again."
                )

    def __repr__(self) -> str:
        given = config.to_dict(self.settings)
        usual = config.to_dict(self.Settings())
        changed = (f", {name}={value!r}" for name, value in given.items() if value != usual[name])
        return f"{type(self).__name__}({self.concept.name!r}{''.join(changed)})"

    def begin(self, call: Call) -> Any:
        """The state of one call; passed to every other method during it."""
        return None

    def weights(self) -> Mapping[str, Tensor]:
        """Stored weights that it replaces for as long as it is attached; none unless it says otherwise.

        Keys are the pipeline's attribute and the parameter's path, as in ``unet.conv_in.weight``.
        ``base["weights"]`` holds the hashes (``base_of``) of what they replace.
        """
        return {}

    def attach(self, pipeline: Any, cover: Cover = "whole") -> Attachment:
        """Guard a pipeline: from now on every call of it is guarded or raises. See ``Attachment``."""
        return Attachment(pipeline, (self,), cover)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and, where there are tensors, ``guard.safetensors``.

        Raises:
            ArtefactError: the tensors, or what is said of them, are not what ``load`` would take.
        """
        self.check_base()
        self.check_tensors()
        write_artefact(Path(folder), self)

    def save_pretrained(self, folder: str | Path) -> None:
        """``save``, under the name that diffusers and transformers have for it."""
        self.save(folder)

    def push_to_hub(self, repo_id: str, **about: Any) -> str:
        """Save it with a card and upload both; the commit's address. ``about``: see ``hub.repository.push``."""
        return push(self, repo_id, **about)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None, **settings: Any) -> Self:
        """``load``, from a folder or a repository on the Hub; ``load_guard`` does so for any guard, and for stacks.

        Raises:
            UnknownName: there is no such folder and no such repository.
            ArtefactError: as ``load``.
        """
        here = Path(source) if str(source) and Path(source).is_dir() else fetch(str(source), revision)
        return cls.load(here, **settings)

    @classmethod
    def load(cls, folder: str | Path, **settings: Any) -> Self:
        """The guard that ``save`` wrote; ``settings`` replace some of the saved ones.

        Raises:
            ArtefactError: no such folder, damaged files, another schema, or another guard's.
        """
        artefact = read_artefact(folder)
        if artefact.guard != cls.name:
            raise ArtefactError(f"{folder} holds the guard {artefact.guard!r}, not {cls.name!r}.")
        check_runs_nothing(folder, artefact, settings)
        about = {"tensors": tensors_of(folder, artefact), "base": artefact.base, "training": artefact.training}
        chosen: Any = config.from_dict(cls.Settings, {**artefact.settings, **settings}, where=cls.name)
        guard = cls(artefact.concept, **about, **config.to_dict(chosen))
        guard.check_base()
        guard.check_tensors()
        return guard


class TextGuard(Guard):
    """Steers text states, once a call and for each half of guidance."""

    stage = Stage.TEXT

    @abstractmethod
    def steer(self, embeds: PromptEmbeds, state: Any) -> Steered:
        """(B, L, D) states to (B, L, D) states."""


class AttentionGuard(Guard):
    """Edits cross-attention projections.

    Attributes:
        projections: which of "k", "v" and "q" it wants to see.
    """

    stage = Stage.ATTENTION
    projections: tuple[str, ...] = ("k", "v")

    def flags(self, states: Tensor, state: Any) -> Flagged | None:
        """Which pictures it acts on, by their prompts' (B, L, D) states as the denoiser reads them; None for all.

        Asked once for the same states, before anything is projected. A picture that is not flagged keeps every
        projection that the layers gave, under all of its conditions; where none is, ``project`` is not called.
        """
        return None

    @abstractmethod
    def project(self, layer: str, which: str, context: Tensor, projected: Tensor, state: Any) -> Tensor:
        """What ``layer.to_{which}`` shall give, (rows, L, C), where the layer itself gave ``projected``.

        ``context`` is the layer's input. Rows are the conditions of one denoiser batch, a guard's own included.
        "k" and "v" are asked for once for a text, not in every step: they depend on nothing else.
        """


class TrajectoryGuard(Guard):
    """Chooses the noise prediction of each step, and may move x_t before it."""

    stage = Stage.TRAJECTORY

    @abstractmethod
    def on_step(self, step: Step, state: Any) -> Guided:
        """The prediction to use. Gradients are off; ``torch.enable_grad()`` inside works."""


class MonitorGuard(Guard):
    """Looks in each step at the picture that would come of it, behind the guard that steers the trajectory."""

    stage = Stage.TRAJECTORY
    watches = True

    def due(self, step: Step, state: Any) -> bool:
        """Whether this step is worth a look: false where nothing that it sees there could count."""
        return True

    @abstractmethod
    def look(self, step: Step, clean: Tensor, state: Any) -> Flagged:
        """Which pictures of this very step show the concept, whatever it saw before.

        ``clean`` is x_0 as the prediction has it, in float32 and as the denoiser knows latents, but never packed:
        (B, C, h, w) of pictures. The scores are what an attacker's gradient goes through; they must not saturate.
        """

    @abstractmethod
    def settle(self, step: Step, flagged: Flagged, state: Any) -> Flagged:
        """Which pictures it has tripped on, by all that it saw in this call; asked once a step, and only in a call.

        Raises:
            GuardRefused: a picture that must not be made.
        """

    @abstractmethod
    def answer(self, step: Step, guided: Guided, flagged: Flagged, state: Any) -> Guided:
        """What to use in the place of ``guided``, where it has tripped."""


class DecoderGuard(Guard):
    """Stands between latents and pixels."""

    stage = Stage.DECODER

    @abstractmethod
    def decode(self, latents: Tensor, decode: Decode, state: Any) -> Decoded:
        """Pictures of latents as the VAE takes them, and who was touched.

        ``decode`` makes pictures (B, 3, H, W) in [-1, 1] with the weights that are in place: the stock ones, or the
        guard's own where it has ``weights``; its ``parts`` are the tiles of these pictures, where there are any.
        """


class OutputGuard(Guard):
    """Stands between the pipeline and whoever called it."""

    stage = Stage.OUTPUT

    @abstractmethod
    def check(self, pictures: Sequence[Image.Image], state: Any) -> Checked:
        """The pictures to hand over, of the same sizes, and on which of them it acted."""


class WeightGuard(Guard):
    """Replaces stored weights before any prompt arrives."""

    stage = Stage.WEIGHTS
    based_on = ("weights",)

    def weights(self) -> Mapping[str, Tensor]:
        """The guard's tensors unless it says otherwise."""
        return self.tensors


def waits_for_monitor(settings: Any) -> bool:
    """Whether a guard of these settings acts where a monitor has seen the concept."""
    return "monitor" in getattr(settings, "when", "")


def untrained(name: str) -> ConfigError:
    """What is raised where a guard has no tensors and needs some."""
    return ConfigError(
        f"guard {name!r} must be trained for a concept and a model: run 'stanchion train {name} "
        "--concept … --model … --output FOLDER' and load FOLDER."
    )


def across(values: Tensor, tensor: Tensor) -> Tensor:
    """One value a picture, (B,), such that it broadcasts over ``tensor`` (B, …): pictures, tokens or videos."""
    return values.view(-1, *[1] * (tensor.ndim - 1))
