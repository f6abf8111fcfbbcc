"""Attacks through the whole model, with gradients."""
