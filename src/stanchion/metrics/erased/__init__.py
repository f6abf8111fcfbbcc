"""Whether the concept is gone."""
