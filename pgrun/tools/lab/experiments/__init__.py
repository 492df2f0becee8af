"""One experiment a file, found by name; ``EXPERIMENT`` is read from each."""
