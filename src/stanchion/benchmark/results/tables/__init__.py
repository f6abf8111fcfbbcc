"""Rows as Markdown."""
