"""ForceForget's recipe and what only it uses."""
