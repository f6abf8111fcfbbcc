"""What families share that have the same transformer."""
