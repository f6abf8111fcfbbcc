"""Guards on the cross-attention projections."""
