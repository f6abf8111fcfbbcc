"""Guards that replace stored weights, before any prompt arrives."""
