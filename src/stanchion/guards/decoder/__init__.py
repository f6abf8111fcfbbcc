"""Guards that stand between latents and pixels."""
