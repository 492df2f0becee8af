"""Experiments with policy gradients from the command line."""

__version__ = "0.1.0"
