"""How numbers are shown: curves and points by one drawer, tables by one helper."""
