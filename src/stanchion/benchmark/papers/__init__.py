"""The papers' tables as specs, what they report beside what is measured, and what a run of them would take."""
