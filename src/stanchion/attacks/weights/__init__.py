"""Attacks on released weights."""
