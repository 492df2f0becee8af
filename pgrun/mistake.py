"""What is wrong with a command, as a record: it becomes a sentence where it is printed."""

from __future__ import annotations

from dataclasses import dataclass

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
