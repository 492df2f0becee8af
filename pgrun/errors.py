"""The user's mistakes: reported in one short paragraph, exit code 2."""


class Refused(Exception):
    """Says what was given, what is allowed, and what to type instead."""
