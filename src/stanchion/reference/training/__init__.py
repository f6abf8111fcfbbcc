"""How the models in the box were trained."""
