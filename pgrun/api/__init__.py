"""pgrun from Python: the commands as functions, and what they leave as records."""
