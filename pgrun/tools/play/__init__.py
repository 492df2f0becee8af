"""``pgrun-play``: a saved run, evaluated again, watched or filmed."""
