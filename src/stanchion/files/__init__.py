"""What lies in files that others wrote: text, and pictures."""
