"""The scalars that are compared where none are named."""

from __future__ import annotations

SCALARS = ("return/train", "kl/old_new", "gradient/variance")
