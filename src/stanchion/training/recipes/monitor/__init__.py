"""The picture monitor."""
