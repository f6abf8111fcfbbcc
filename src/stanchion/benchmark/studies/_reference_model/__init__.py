"""How good the model in the box is."""
