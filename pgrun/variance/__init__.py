"""Variance schemes: the choice of the weight Ψ that each action gets. One file a scheme."""
