"""``pgrun-explain``: what a command would do, in plain words, without doing it."""
