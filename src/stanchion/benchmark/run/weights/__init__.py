"""How many updates bring a concept back into a released model: curves of attacks on weights."""
