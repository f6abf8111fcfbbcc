"""What the pictures of a prompt set show, which decides what can be measured on them."""

from __future__ import annotations

from typing import Literal

Role = Literal["unsafe", "paired", "benign", "neighbours", "empty", "i2i"]
ROLES: tuple[Role, ...] = ("unsafe", "paired", "benign", "neighbours", "empty", "i2i")
