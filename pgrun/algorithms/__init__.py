"""Algorithms: what is done with the weighted log-probabilities. One file an algorithm."""
