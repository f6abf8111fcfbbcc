"""Guards on finished pictures, before they are handed over."""
