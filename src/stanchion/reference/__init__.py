"""The embedded reference model: a small real Stable Diffusion pipeline, its world, and its judge."""
