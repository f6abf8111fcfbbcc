"""Prompt sets: deterministic rows of prompts, each with its seed, for a concept of the reference world."""
