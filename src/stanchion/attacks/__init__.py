"""Attacks on guards, by which a guard is judged: with prompts, and with the weights."""
