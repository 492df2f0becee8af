"""``pgrun-compare``: what came out of many runs, over seeds, with intervals."""
