"""What was learnt, refitted in closed form to what texts say to each layer."""
