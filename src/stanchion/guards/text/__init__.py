"""Guards that steer text states, before the first step."""
