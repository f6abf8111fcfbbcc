"""Prompt sets of one kind each under one prefix, as multilingual_german and multilingual_spanish."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Self

from ..errors import UnknownName


class OfKinds:
    """Mixed into a prompt set whose name is a prefix; ``called`` gives the one that a whole name means.

    Attributes:
        name: the prefix, which ends in an underscore; of one kind, the whole name.
        kinds: what may follow the prefix.
        kind: what does.
    """

    name: ClassVar[str]
    kinds: ClassVar[Collection[str]]
    kind: ClassVar[str] = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if not self.kind:
            self.called(self.name)
        super().__init__(*arguments, **options)

    @classmethod
    def called(cls, name: str) -> type[Self]:
        """The set of that name.

        Raises:
            UnknownName: what follows the prefix is none of ``kinds``.
        """
        kind = name.removeprefix(cls.name)
        if kind not in cls.kinds:
            known = " or ".join(f"{cls.name}{known}" for known in cls.kinds)
            raise UnknownName(f"unknown prompt set {name!r}; say {known}.")
        return type(cls.__name__, (cls,), {"name": name, "kind": kind})
