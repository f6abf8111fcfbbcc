"""Guards: one file each, under the stage at which it acts."""
