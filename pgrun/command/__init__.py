"""From the words of a command to checked jobs, and what the terminal shows."""
