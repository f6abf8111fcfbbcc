"""Attacks with words and seeds alone."""
