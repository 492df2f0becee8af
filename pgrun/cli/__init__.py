"""The command ``pgrun`` itself."""
