"""``pgrun --list``: algorithms × schemes × what fits, and the tuned pairs."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class
from pgrun.terminal.printing import terminal_width

SENTENCE_END = re.compile(r"(?<=\.)(?<!al\.)(?<!eq\.)\s+(?=[^\W\da-z]|``|[∇Σ])")
WIDTH = 120  # columns of the tuned pairs, about as wide as the lines above them
LETTERS = {"episodes": "E", "steps": "S", "replay": "R"}


def format_method_list() -> str:
    conf = conf_dir()
    algos, schemes = list_option_names(conf / "algo"), list_option_names(conf / "variance")
    return "\n\n".join(
        (
            "Algorithms",
            "\n".join(f"  {name:<18}{describe_class(find_class('algo', name))}" for name in algos),
            "Variance schemes",
            "\n".join(f"  {name:<18}{describe_class(find_class('variance', name))}" for name in schemes),
            "What fits, by sampler: E episodes, S steps, R replay, · nothing; * the algorithm's own choice",
            format_fit_matrix(conf, algos, schemes),
            "Distributions of real actions",
            "\n".join(
                f"  {name:<18}{describe_class(find_class('policy', name))}"
                for name in list_option_names(conf / "policy")
            ),
            "Tuned settings, taken by themselves (tuned=none turns them off)",
            format_tuned_pairs(list_tuned_pairs(conf / "tuned")),
        )
    )


def list_option_names(folder: Path) -> list[str]:
    return [path.stem for path in sorted(folder.glob("*.yaml"))]


def describe_class(cls: type) -> str:
    """The first sentence of a class's docstring, with the formula that it announces if that is one line."""
    paragraphs = [*re.split(r"\n\s*\n", inspect.getdoc(cls) or ""), ""]
    sentence = SENTENCE_END.split(" ".join(paragraphs[0].split()))[0].replace("``", "")
    if not sentence.endswith(":"):
        return sentence
    formula = paragraphs[1]
    if formula.startswith(" ") and "\n" not in formula:
        return f"{sentence} {re.sub(r'  +', '  ', formula.strip())}"
    return f"{sentence[:-1]}."


def format_fit_matrix(conf: Path, algos: list[str], schemes: list[str]) -> str:
    """A row a scheme, a column an algorithm; on a terminal as many tables as its width asks for."""
    width = max(map(len, algos)) + 2
    columns = max((terminal_width() - 20) // width, 1) if sys.stdout.isatty() else len(algos)
    tables = []
    for first in range(0, len(algos), columns):
        some = algos[first : first + columns]
        lines = [" " * 20 + "".join(f"{name:<{width}}" for name in some)]
        for scheme in schemes:
            cells = (format_fit_cell(conf, algo, scheme) for algo in some)
            lines.append(f"  {scheme:<18}" + "".join(f"{text:<{width}}" for text in cells))
        tables.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(tables)


def format_fit_cell(conf: Path, algo: str, scheme: str) -> str:
    from pgrun.variance.corrected import Corrected

    whole = find_class("variance", scheme).whole_episodes  # type: ignore[attr-defined]
    method: Any = find_class("algo", algo)
    fits = [kind for kind in method.samplers if kind == "episodes" or not whole]
    if not method.takes_corrections and issubclass(find_class("variance", scheme), Corrected):
        fits = []
    if method.allowed_schemes and scheme not in method.allowed_schemes:
        fits = []
    usual = find_usual_choice(conf / "algo" / f"{algo}.yaml", "variance") == scheme
    return (" ".join(LETTERS[kind] for kind in fits) or "·") + " *" * usual


def find_usual_choice(path: Path, group: str) -> str | None:
    """What an algorithm's defaults list takes for a group."""
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    chosen = [
        entry.get(f"override /{group}") for entry in content.get("defaults", ()) if isinstance(entry, dict)
    ]
    return next((choice for choice in chosen if choice), None)


def format_tuned_pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """A paragraph an algorithm: ``algo=ppo env=`` and its environments, wrapped."""
    by_algo: dict[str, list[str]] = {}
    for algo, env in pairs:
        by_algo.setdefault(algo, []).append(env)
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * 28, break_on_hyphens=False)
    lines: list[str] = []
    for algo, envs in by_algo.items():
        wrap.initial_indent = f"  {f'algo={algo}':<22}"
        lines += wrap.wrap("env=" + ", ".join(envs))
    return "\n".join(lines)


def list_tuned_pairs(folder: Path) -> list[tuple[str, str]]:
    """(algorithm, environment) of each file: a namespaced id is a path."""
    paths = [path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*/*.yaml"))]
    return [(path.parts[0], "/".join(path.parts[1:])) for path in paths]
