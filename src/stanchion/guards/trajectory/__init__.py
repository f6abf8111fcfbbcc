"""Guards that choose the noise prediction of each step."""
