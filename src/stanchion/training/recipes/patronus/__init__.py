"""The recipes of Patronus' two guards and what they share."""
