"""Guards put on a pipeline object, and the proof that they acted."""
