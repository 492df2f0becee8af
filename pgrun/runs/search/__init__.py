"""Hyper-parameter search: ``hydra/sweeper=optuna``.

Optuna proposes the trials; their run directories are what is known of them.
"""
