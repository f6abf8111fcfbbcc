"""What must hold for a picture to have been guarded, and who sees whether it does."""
