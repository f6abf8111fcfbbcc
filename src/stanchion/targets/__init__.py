"""A guarded pipeline as an attacker sees it."""
