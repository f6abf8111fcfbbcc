"""Fills a record, cell by cell."""
