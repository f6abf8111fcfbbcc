"""A family's model opened: encode, predict, decode."""
