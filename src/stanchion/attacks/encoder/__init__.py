"""Attacks that need the text encoder only."""
