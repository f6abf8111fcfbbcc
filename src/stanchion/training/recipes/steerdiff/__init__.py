"""SteerDiff's recipe and what only it uses."""
