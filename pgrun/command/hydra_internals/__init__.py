"""Every use of Hydra's private modules: what to look at when Hydra changes."""
