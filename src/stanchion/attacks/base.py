"""What an attack is. It never sees a judge and never says itself whether it won."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from torch import Tensor


class Access(StrEnum):
    """What an attacker has of the guarded pipeline: each has what those before it have."""

    BLACK_BOX = "black_box"
    TEXT_ENCODER = "text_encoder"
    WHITE_BOX = "white_box"


@dataclass(frozen=True)
class NoSettings:
    """An attack without settings."""


@dataclass(frozen=True)
class Material:
    """What an attacker collected to train on.

    Attributes:
        pictures: (N, 3, H, W) in [-1, 1], of the model's native size.
        captions: N texts.
        subjects: the phrase in each caption that names what the attacker is after, "a knife" say.
    """

    pictures: Tensor
    captions: tuple[str, ...]
    subjects: tuple[str, ...]


class WeightAttack(ABC):
    """Changes the weights of a released model to bring a concept back. Its result is a curve over updates.

    Attributes:
        name: the file's stem.
        Settings: a frozen dataclass of everything that decides the outcome beside model, material and seed.
    """

    name: ClassVar[str]
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = settings or self.Settings()

    @abstractmethod
    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields numbers of updates, ascending, with the attacked weights so far in place in ``bench.pipe``.

        Whoever reads the curve draws at each yield, and puts the weights back when it is done.

        Args:
            bench: the released model's ``Workbench``.
            public: the ``Workbench`` of the model that it was made from, which everybody has.
        """

    def worded(self, text: str, subject: str) -> str:
        """What this attacker asks the attacked model instead of ``text``, which names ``subject``."""
        return text
