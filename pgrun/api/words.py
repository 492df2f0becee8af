"""From the arguments of a function to the words of the command that it stands for."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgrun.errors import InvalidCommand

# What has settings of its own, and by which of them an option of it is chosen.
SECTIONS = {
    **dict.fromkeys(("algo", "critic", "network", "optimizer", "policy", "sampler", "variance"), "name"),
    "env": "id",
    **dict.fromkeys(("diagnostics", "logger", "reference", "trainer")),
}


def build_command(
    words: Iterable[str | Iterable[str]],
    settings: Mapping[str, Any],
    folder: str | os.PathLike[str] | None,
    config_dir: str | os.PathLike[str] | None,
) -> list[str]:
    """``words`` as they would be typed, texts or lists of single ones, then each setting as ``key=value``.

    Raises ``InvalidCommand``.
    """
    argv = [
        word for part in words for word in (split_text(part) if isinstance(part, str) else map(str, part))
    ]
    argv += [f"{key}={format_argument(value, key)}" for key, value in flatten_sections(settings)]
    if folder is not None:
        argv.append(f"hydra.run.dir={format_argument(folder, 'folder')}")
    if config_dir is not None:
        argv.append(f"--config-dir={os.fspath(config_dir)}")
    return argv


def flatten_sections(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """``network={"name": "shared", "hidden": [8]}`` is ``network=shared network.hidden=[8]``; all else as
    it is.
    """
    for key, value in settings.items():
        if key not in SECTIONS or not isinstance(value, Mapping):
            yield key, value
            continue
        chosen = SECTIONS[key]
        if chosen in value:  # first: its own settings follow
            yield key, value[chosen]
        yield from ((f"{key}.{name}", x) for name, x in value.items() if name != chosen)


def split_text(text: str) -> list[str]:
    """The words of one text, split as a shell would."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidCommand(
            text, None, f"cannot be read: {error}", "quotes come in pairs, as in a shell"
        ) from error


def format_argument(value: Any, key: str) -> str:
    """A Python value as the command line writes it: None is null, True is true, a list is [1,2].

    Raises ``InvalidCommand``.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | os.PathLike):
        return quote_if_needed(os.fspath(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        pairs = (f"{quote_if_needed(str(name))}:{format_argument(x, key)}" for name, x in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list | tuple | range):
        return f"[{','.join(format_argument(x, key) for x in value)}]"
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, torch's tensors
        return format_argument(value.tolist(), key)
    kind = type(value).__name__
    raise InvalidCommand(
        key, None, f"is a {kind}: a setting is a number, a text, True, False, None, a list or a dict"
    )


def quote_if_needed(text: str) -> str:
    """A text that is read as itself; in quotes where it would be read as a number, a list or
    several values.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import HydraException

    try:
        read = OverridesParser.create().parse_override(f"x=[{text}]").value()
    except HydraException:
        read = None
    return text if read == [text] else QuotedString(text, Quote.single).with_quotes()
