"""One run: built from settings, trained, evaluated, saved."""
