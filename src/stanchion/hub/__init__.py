"""The Hub: what is fetched from it and pushed to it, and the card of what is pushed. Knows no guard."""
