"""Learning that knows no guard and no model."""
