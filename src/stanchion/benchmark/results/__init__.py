"""Rows of results, and what is read from them."""
