"""Where works are carried out."""
