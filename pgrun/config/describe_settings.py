"""A class's settings in words, taken from its signature, its docstring and the comments beside its fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import textwrap
import tokenize
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pgrun.config.schema import format_value, setting_kinds

NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", dict: "mapping"}
SENTENCE = re.compile(r"(?<=[.;])\s+(?=``|[A-ZΨ∇])")


@dataclass(frozen=True)
class Setting:
    name: str
    allowed: str  # ``number > 0``, ``constant or linear``
    default: Any  # of the signature; ``NEEDED`` where there is none
    meaning: str  # empty where nothing says it


NEEDED = dataclasses.MISSING


def describe_settings(cls: type) -> list[Setting]:
    """In the order of the signature."""
    defaults = {field.name: default_of(field) for field in dataclasses.fields(cls)}
    meanings = find_meanings(cls)
    return [
        Setting(name, describe_kind(kind), defaults[name], meanings.get(name, ""))
        for name, kind in setting_kinds(cls).items()
    ]


def default_of(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def describe_kind(kind: Any) -> str:
    """What an annotation allows: ``number in [0, 1]``, ``integer ≥ 1 or null``, ``constant or linear``."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe_kind(args[0])} {args[1]}"
    if origin in (Union, types.UnionType):
        parts = [describe_kind(arg) for arg in args if arg is not type(None)]
        return " or ".join([*parts, *(["null"] if type(None) in args else [])])
    if origin is Literal:
        return " or ".join(map(format_value, args))
    if origin in (list, tuple):
        return f"list of {'numbers' if 'number' in describe_kind(args[0]) else describe_kind(args[0])}"
    if origin is dict:
        return "mapping"
    return NAMES.get(kind, "anything")


def own_doc(cls: type) -> str:
    """A class's docstring; empty where a dataclass has made its own, which is the signature."""
    doc = inspect.getdoc(cls) or ""
    return "" if doc.startswith(f"{cls.__name__}(") else doc


def find_meanings(cls: type) -> dict[str, str]:
    """{setting: the comment beside it, else the sentence of a docstring that begins with it}."""
    meanings: dict[str, str] = {}
    for base in cls.__mro__:
        if dataclasses.is_dataclass(base):
            for part in (read_comments(base), read_sentences(own_doc(base), base)):
                meanings = {**part, **meanings}
    return meanings


def read_comments(cls: type) -> dict[str, str]:
    """Those on the lines of the fields."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # made without a file
        return {}
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    lines = {
        node.target.id: range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {name: comments[line] for name, its in lines.items() for line in reversed(its) if line in comments}


def read_sentences(doc: str, cls: type) -> dict[str, str]:
    """``epochs``: …; of the class's own settings."""
    sentences: dict[str, str] = {}
    for sentence in SENTENCE.split(" ".join(doc.split())):
        for name in setting_kinds(cls):
            marked = re.match(rf"``{name}(=[^`]*)?``(: )?", sentence)
            if marked:
                told = sentence[marked.end() :] if marked[2] else sentence
                sentences.setdefault(name, told.replace("``", "").rstrip(".;"))
    return sentences
