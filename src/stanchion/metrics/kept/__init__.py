"""Whether everything else is still there."""
