"""Where guards act in a call, one seam a stage."""
