"""The noise process of a schedule."""
