"""The four papers' claims, each with the measurement that tests it on the reference model."""
