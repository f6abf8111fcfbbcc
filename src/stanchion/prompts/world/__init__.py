"""Prompt sets of the reference world."""
