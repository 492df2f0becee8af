"""What a setting may be: the schema that class signatures are, the run's own settings, the user's modules."""
