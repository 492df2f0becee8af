"""What ends a command in one short paragraph, without a traceback (``PGRUN_DEBUG=1`` shows it)."""


class Refused(Exception):
    """The user's mistake, exit code 2. Says what was given, what is allowed, and what to type instead."""


class EnvironmentFault(Exception):
    """An environment did what nothing can be learned from, exit code 1. Says which one, and in which episode and step."""


class Diverged(EnvironmentFault):
    """Numbers that an update made are NaN or infinite, exit code 1. Says which, at which step, and what to try."""
