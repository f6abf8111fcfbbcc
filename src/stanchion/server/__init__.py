"""A guarded image service: one class that any program can embed, and the server that speaks HTTP around it."""
