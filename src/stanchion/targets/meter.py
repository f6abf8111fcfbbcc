"""What an attack has spent of its budget."""

from __future__ import annotations

from ..errors import BudgetSpent
from ..types import Budget, Spent


class Meter:
    """What was spent of a budget. Nothing is given for what would go beyond it."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.spent = budget, Spent()

    def take(self, what: str, count: int) -> None:
        """Count ``count`` more "pictures", "predictions" or "encodings".

        Raises:
            BudgetSpent: that is more than there is.
        """
        limit, so_far = getattr(self.budget, what), getattr(self.spent, what)
        if limit is not None and so_far + count > limit:
            raise BudgetSpent(f"{so_far} {what} were spent of {limit}, and {count} more were asked for.")
        setattr(self.spent, what, so_far + count)

    def left(self, what: str) -> float:
        """How many more there are; infinity where there is no limit."""
        limit = getattr(self.budget, what)
        return float("inf") if limit is None else limit - getattr(self.spent, what)
