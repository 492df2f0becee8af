"""Runs and sweeps: each job in a process of its own, stopped, resumed and reported."""
