"""What attacks achieved."""
