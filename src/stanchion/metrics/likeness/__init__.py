"""How like a picture is to its text, to its unguarded twin, or to real ones."""
