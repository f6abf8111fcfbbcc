"""Judges: each says what a picture shows; a concept's verdict follows from that."""
