"""Prompt sets that others published."""
