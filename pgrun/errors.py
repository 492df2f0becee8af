"""The user's mistakes: reported in one short paragraph, exit code 2."""


class Refused(Exception):
    """Says what was given, what is allowed, and what to type instead."""


class EnvironmentFault(Exception):
    """An environment gave what nothing can be learned from: says which one, and in which episode and step."""
