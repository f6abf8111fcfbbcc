"""The stages at which a guard acts, in the order in which a prompt meets them."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """A stage's value is the name of its folder under ``guards/``; weights change before any prompt arrives."""

    WEIGHTS = "weights"
    TEXT = "text"
    ATTENTION = "attention"
    TRAJECTORY = "trajectory"
    DECODER = "decoder"
    OUTPUT = "output"

    @property
    def place(self) -> int:
        """0 for the first stage."""
        return list(Stage).index(self)
