"""What ends a command in one short paragraph, without a traceback (``PGRUN_DEBUG=1`` shows it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 700  # characters of one line of it
MOST = 20  # lines
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
PROGRAM = "{pgrun}"  # in a text: the name of the command, pgrun or pgrun-study


@dataclass(frozen=True)
class Mistake:
    """One mistake. ``sentence`` says it as ``setting=given: reason: remedy``."""

    setting: str  # or the word as it was typed, where that is no setting; an option begins with --
    given: object  # its value, kept as text; None where the setting itself is at fault
    reason: str  # what is allowed, or what it does not go with
    remedy: str = ""  # what to type instead, where the reason does not say it
    jobs: str = ""  # of a sweep: those that have it, where not all do

    def __post_init__(self) -> None:
        if self.given is not None:
            object.__setattr__(self, "given", str(self.given))

    @classmethod
    def of(cls, text: object) -> Mistake:
        """What is a sentence already: Hydra's, or an environment's own."""
        return cls(str(text), None, "")

    def sentence(self, program: str = "pgrun") -> str:
        mark = " " if self.setting.startswith("--") else "="
        head = self.setting if self.given is None else f"{self.setting}{mark}{self.given}"
        text = ": ".join(filter(None, (head, self.reason, self.remedy))).replace(PROGRAM, program)
        where = f"  [{self.jobs}]" if self.jobs and not text.startswith(self.jobs) else ""
        return text + where


class UserFacingError(Exception):
    """Speaks for itself. Whatever the user typed into it, it stays short and printable."""

    def __init__(self, text: str):
        super().__init__(shorten_paragraph(text))


class InvalidCommand(UserFacingError):
    """The user's mistake, exit code 2, from the fields of a ``Mistake``.

    Says what was given, what is allowed, and what to type instead.
    """

    def __init__(self, setting: object, given: object, reason: object, remedy: str = "") -> None:
        self.mistakes: tuple[Mistake, ...] = (Mistake(str(setting), given, str(reason), remedy),)

    def __str__(self) -> str:
        return shorten_paragraph(self.mistakes[0].sentence())


class SeveralMistakes(InvalidCommand):
    """A list of them, or the one there is. ``instead``: the whole command as it is to be typed."""

    def __init__(self, mistakes: Sequence[Mistake], program: str, instead: str = "") -> None:
        self.mistakes = tuple(mistakes)
        self.program, self.instead = program, instead

    def __str__(self) -> str:
        sentences = list(dict.fromkeys(one.sentence(self.program) for one in self.mistakes))
        if len(sentences) > 1:
            sentences = [f"{len(sentences)} problems", *(f"  - {sentence}" for sentence in sentences)]
        together = [f"together: {self.instead}"] if self.instead else []
        return shorten_paragraph("\n".join((*sentences, *together)))


class EnvironmentFault(UserFacingError):
    """An environment did what nothing can be learned from, exit code 1.

    Says which one, and in which episode and step.
    """


class Diverged(EnvironmentFault):
    """Numbers that an update made are NaN or infinite, exit code 1.

    Says which, at which step, and what to try.
    """


class OwnCodeFault(UserFacingError):
    """A scheme, an algorithm or a network of the user's raised, or gave what it must not, exit code 2.

    Says in which file and line, what came, and what is needed.
    """


class RunFilesLost(UserFacingError):
    """Somebody took a run's files away while it trained, exit code 1.

    Says what is gone and what is saved; nothing is written in their place.
    """


class OutOfMemory(UserFacingError):
    """The machine, or a limit of the process, had no more memory, exit code 1.

    Says how much was asked for.
    """


def describe_lack_of_memory(error: BaseException) -> str | None:
    """``out of memory: …`` for what NumPy, Python and torch (CPU, CUDA) raise then.

    None for anything else.
    """
    text = join_lines(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {text}" if text else "out of memory"
    if isinstance(error, RuntimeError) and "can't allocate memory" in text:
        return f"out of memory: {text.partition('memory: ')[2]}"
    return None


def shorten_paragraph(text: str) -> str:
    lines = [escape_line(line) for line in text.split("\n")]
    short = [
        line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        for line in lines
    ]
    return "\n".join(short if len(short) <= MOST else [*short[:MOST], f"  … and {len(short) - MOST} more"])


def escape_line(text: str) -> str:
    """One line, whatever stands in ``text``: what a terminal would obey is shown as Python writes it,
    ``\\x1b`` or ``\\u202e``.

    Names and texts in a run directory may be anybody's: they could clear the screen, name the window, turn
    the line around, or begin a line that reads like one of ours.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == NO_BREAK_SPACE else ascii(c)[1:-1] for c in text)


def join_lines(text: object) -> str:
    """A message that may have lines of its own, such as an exception's, as part of one of ours."""
    return " ".join(str(text).split())


def escape_lines(text: str) -> str:
    """``escape_line`` for a text that has lines of its own."""
    return "\n".join(map(escape_line, text.split("\n")))
