"""Training of guards: one recipe per trained guard under ``recipes/``, and what recipes share."""
