"""What to type here for the names of other tools (``foreign_names``): found where a command is refused."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pgrun.command.foreign_names import (
    ABSENT,
    ATARI,
    CS285_START,
    FOREIGN_NAMES,
    FOREIGN_OPTIONS,
    NEAREST,
    PIXELS,
    TOOLS,
    ForeignName,
)
from pgrun.command.foreign_scripts import drop_python_m, find_script_algorithm, is_script
from pgrun.command.foreign_values import COMPUTE, NUMBER, Settings, has_own_critic, put_value
from pgrun.errors import Mistake

YES, NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", "none", "null"}


@dataclass(frozen=True)
class ForeignWord:
    """One word of a command, or a flag with its value."""

    typed: str
    name: str  # as ``spell`` has it
    value: str  # "" for a flag without one


def normalise_spelling(name: str) -> str:
    """One spelling of ``--learning-rate`` and ``learning_rate``; short flags keep their dash."""
    name = re.sub(r"\[\w*\]$", "", name)  # --hid[h] of Spinning Up
    if name.startswith("-") and not name.startswith("--"):
        return name
    return name.lstrip("-").replace("-", "_")


def index_names() -> dict[str, list[tuple[ForeignName, list[str]]]]:
    """Spelling → the rows that have it, each with the fields of its tools."""
    index: dict[str, list[tuple[ForeignName, list[str]]]] = {}
    for row in FOREIGN_NAMES:
        tools: dict[str, list[str]] = {}
        for field in TOOLS:
            for name in map(normalise_spelling, row.names(field)):
                tools.setdefault(name, []).append(field)
        for name, fields in tools.items():
            index.setdefault(name, []).append((row, fields))
    return index


INDEX = index_names()


def is_foreign(name: str) -> bool:
    return normalise_spelling(name) in INDEX


def is_same_here(name: str) -> bool:
    """Whether the name is also that of the setting here: ``--seed``."""
    return any(
        row.here == f"{normalise_spelling(name)}={{}}" for row, _ in INDEX.get(normalise_spelling(name), [])
    )


def split_foreign_flags(
    argv: Sequence[str], known: Iterable[str]
) -> tuple[list[str], list[ForeignWord], list[str]]:
    """(the command without what other tools would read; that; flags that are nobody's, with their values).

    ``known``: flags of our own. Where nothing is another tool's, everything is left as it is.
    """
    known = set(known)
    rest, flags, tokens = list[str](), list[ForeignWord](), drop_python_m(argv)
    while tokens:
        token = tokens.pop(0)
        name, equals, value = token.partition("=")
        name = re.sub(r"^--no-(?=\w)", "--", name) if not is_foreign(name) else name
        ours = name in known and not (name == "-i" and tokens[:1] and tokens[0].endswith(".zip"))
        if not name.startswith("-") or ours or not is_foreign(name):
            rest.append(token)
            continue
        if normalise_spelling(name) in ("hyperparams", "-params"):  # of rl-zoo: name:value, several
            for i, pair in enumerate(takewhile(lambda word: re.match(r"\w+:", word), tokens)):
                tokens[i] = f"--{pair.replace(':', '=', 1)}"
            continue
        off = name != token.partition("=")[0]
        values = [value] if equals else take_values(tokens, INDEX[normalise_spelling(name)][0][0])
        typed = token if equals else " ".join([token, *values])
        flags.append(ForeignWord(typed, normalise_spelling(name), "false" if off else " ".join(values)))
    if not flags and not any(map(is_script, rest)):
        return list(argv), [], []
    words, unknown = split_unknown_flags(rest, known)
    behind = zip(words, ["", *words], strict=False)  # what stands behind a flag of ours is its value
    scripts = [word for token, before in behind if before not in known and (word := read_script(token))]
    taken = [word.typed for word in scripts]
    return [token for token in words if token not in taken], [*scripts, *flags], unknown


def split_unknown_flags(tokens: Sequence[str], known: set[str]) -> tuple[list[str], list[str]]:
    """(the other words; flags that neither we nor the table know, each with the values behind it)."""
    kept, unknown, left = list[str](), list[str](), list(tokens)
    while left:
        token = left.pop(0)
        if not token.startswith("-") or any(flag.startswith(token.partition("=")[0]) for flag in known):
            kept.append(token)
            continue
        values = []
        while left and "=" not in left[0] and not left[0].startswith("-"):
            values.append(left.pop(0))
        unknown.append(" ".join([token, *values]))
    return kept, unknown


def read_script(token: str) -> ForeignWord | None:
    """``ppo`` of ``python -m spinup.run ppo``, or a script that has an algorithm in its name."""
    names = list_algorithm_names()
    if token.lower() in names:
        return ForeignWord(token, "algo", token)
    if is_registered(token):
        return ForeignWord(token, "env", token)
    if not is_script(token):
        return None
    name = find_script_algorithm(token, names)
    return ForeignWord(token, "algo" if name else "train", name)


def is_registered(name: str) -> bool:
    if not re.fullmatch(r"[\w-]+-v\d+", name):
        return False
    from pgrun.envs.problems.registration import registry

    return name in registry


def list_algorithm_names() -> set[str]:
    from pgrun.config.paths import conf_dir

    here = {path.stem for path in (conf_dir() / "algo").glob("*.yaml")}
    return here | set(FOREIGN_OPTIONS["algo"]) | set(ABSENT)


def take_values(tokens: list[str], row: ForeignName) -> list[str]:
    """The values of a flag, taken out of what stands behind it."""
    values = []
    while (
        tokens and "=" not in tokens[0] and (not tokens[0].startswith("-") or re.fullmatch(NUMBER, tokens[0]))
    ):
        if not row.example and tokens[0].lower() not in YES | NO:
            break
        values.append(tokens.pop(0))
    return values


def find_foreign_option(group: str, name: str, options: Iterable[str]) -> str | None:
    """The words for an option that has another name, or other letters, here."""
    small = name.lower().replace("-", "_")
    if words := FOREIGN_OPTIONS.get(group, {}).get(small):
        return words
    return next((f"{group}={option}" for option in options if option.lower() == small), None)


def answer_foreign_words(
    words: Sequence[ForeignWord],
    others: Sequence[str],
    options: Sequence[str],
    compose: Callable[[list[str]], Settings | None],
) -> tuple[list[Mistake], str]:
    """(a mistake for each word; the whole command as it is typed here, where there are several).

    ``others``: the command's other words; ``options``: its flags; ``compose``: settings of words, or None.
    """
    tool = Counter(field for word in words for _, fields in INDEX[word.name] for field in fields).most_common(
        1
    )[0][0]
    rows = [choose_row(word, tool) for word in words]
    start = [CS285_START] if is_cs285(words, rows) else []
    plain = [fill_in_row(row, word) for row, word in zip(rows, words, strict=True) if not row.compute]
    plain = [*start, *plain]
    settings = compose(keep_last_words([*plain, *others])) or compose(list(others)) or compose([])
    assert settings is not None
    values = {word.name: word.value for word in words}
    if {"steps", "minibatches"} <= {row.compute for row in rows}:  # the one is a share of the other
        pairs = [(row, word) for row, word in zip(rows, words, strict=True) if row.compute == "steps"]
        steps = [answer_row(row, word, settings, values)[0] for row, word in pairs]
        settings = compose(keep_last_words([*plain, *steps, *others])) or settings
    answers = [answer_row(row, word, settings, values) for row, word in zip(rows, words, strict=True)]
    mistakes = [
        describe_foreign_word(word, row, typed, note)
        for word, row, (typed, note) in zip(words, rows, answers, strict=True)
    ]
    if len(words) < 2:
        return mistakes, ""
    return mistakes, translate_command([*start, *sorted_by_table(rows, answers)], others, options)


def is_cs285(words: Sequence[ForeignWord], rows: Sequence[ForeignName]) -> bool:
    """Whether it is a command of CS285's homework on policy gradients: REINFORCE, unless it says more."""
    algorithms = [word.value for word in words if word.name == "algo"]
    return set(algorithms) <= {"reinforce", "pg"} and ["cs285"] in map(list_tools, words, rows)


def translate_command(answers: Sequence[str], others: Sequence[str], options: Sequence[str]) -> str:
    """The whole command. What was typed as it is typed here is as it was."""
    typed = keep_last_words(others)
    keys = {extract_typed_key(word) for word in typed}
    merged = [*typed, *(word for word in keep_last_words(answers) if extract_typed_key(word) not in keys)]
    several = any("," in re.sub(r"[\[{(][^\]})]*[\]})]+", "", word) for word in merged)
    flags = list(options)
    if several and not {"-m", "--multirun"} & set(options):
        flags.insert(0, "-m")
        merged = [re.sub(r"^hydra\.run\.dir=", "hydra.sweep.dir=", word) for word in merged]
    return " ".join(["pgrun", *flags, *map(quote_word, merged)])


def answer_row(
    row: ForeignName, word: ForeignWord, settings: Settings, values: Mapping[str, str]
) -> tuple[str, str]:
    """(the words here, what to know of them). ``values``: of all words of other tools, by name."""
    typed, note = fill_in_row(row, word), why_absent(row, word.value) or row.note
    if row.compute:
        typed, note = COMPUTE[row.compute](row, word.value, settings, values)
    return without_critic(typed, settings), note


def choose_row(word: ForeignWord, tool: str) -> ForeignName:
    """That of the tool which most words of the command are of."""
    rows = INDEX[word.name]
    return next((row for row, fields in rows if tool in fields), rows[0][0])


def sorted_by_table(rows: Sequence[ForeignName], answers: Sequence[tuple[str, str]]) -> list[str]:
    """The words. Where two answers set the same thing, the later row's is to win."""
    order = sorted(range(len(rows)), key=lambda i: FOREIGN_NAMES.index(rows[i]))
    return [answers[i][0] for i in order]


def keep_last_words(words: Iterable[str]) -> list[str]:
    """One word for each setting: the last."""
    merged: dict[str, str] = {}
    for word in (part for text in words for part in split_words(text)):
        merged[extract_typed_key(word)] = word
    return list(merged.values())


def extract_typed_key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def split_words(text: str) -> list[str]:
    """Words of a row; what stands inside brackets stays together."""
    return re.findall(r"(?:[^\s\[{(]|[\[{(][^\]})]*[\]})]*)+", text)


def fill_in_row(row: ForeignName, word: ForeignWord) -> str:
    """The row's words for this value."""
    if row.off:
        return row.off if word.value.lower() in NO else row.here
    return rename_option(put_value(row.here, word.value))


def rename_option(typed: str) -> str:
    """``algo=vpg`` and ``env=LunarLander-v2`` as they are here, so that the answer is not refused in turn."""
    group, _, name = typed.partition("=")
    if group == "algo":
        small = name.lower().replace("-", "_")
        return "" if small in ABSENT else find_foreign_option(group, name, list_algorithm_names()) or typed
    if group == "env" and re.search(ATARI, name):
        return ""
    if group == "env" and not re.search("[/:,]", name):
        from pgrun.envs.problems.registration import registry
        from pgrun.envs.versions import newest_version

        made = name in registry and not callable(registry[name].entry_point)  # -v2 of MuJoCo only raises
        newest = None if made else newest_version(name, registry)
        return f"env={newest}" if newest else typed
    return typed


def describe_foreign_word(word: ForeignWord, row: ForeignName, typed: str, note: str) -> Mistake:
    tools = ", ".join(TOOLS[field] for field in list_tools(word, row))
    what = "; ".join(filter(None, (f"type {quote_words(typed)}" if typed else "leave it out", note)))
    return Mistake(f"{word.typed} ({tools})" if tools else word.typed, None, what)


def list_tools(word: ForeignWord, row: ForeignName) -> list[str]:
    """Fields of the tools that have this word; of a script none."""
    if word.typed == word.value:  # ppo alone, behind python -m spinup.run
        return ["spinningup"] if word.name == "algo" else []
    if is_script(word.typed):
        return []
    fields = next(fields for other, fields in INDEX[word.name] if other is row)
    return list(dict.fromkeys(fields))


def why_absent(row: ForeignName, value: str) -> str:
    """Why there is no such algorithm, or no network for such an environment; "" where there is."""
    if row.here == "env={}" and re.search(ATARI, value):
        return PIXELS
    name = value.lower().replace("-", "_")
    return (
        f"there is none here: {ABSENT[name]}; {NEAREST}" if row.here == "algo={}" and name in ABSENT else ""
    )


def quote_words(text: str) -> str:
    """Words as they are typed in a shell."""
    return " ".join(map(quote_word, split_words(text)))


def quote_word(word: str) -> str:
    return shlex.quote(word) if re.search(r"[\s(){}<>$&|;*?'\"]", word) else word


def without_critic(words: str, settings: Settings) -> str:
    """What concerns the critic's optimizer is of no use where the critic has none of its own."""
    kept = [
        word for word in split_words(words) if not word.startswith(("critic.optimizer", "critic/optimizer"))
    ]
    return words if has_own_critic(settings) or not kept else " ".join(kept)
