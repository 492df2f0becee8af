"""The laboratory in Chinese: every experiment has its texts, of the English as it is now."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pgrun.presentation.tables import align_columns, count_columns
from pgrun.tools.lab import cli, translations
from pgrun.tools.lab.catalogue import GROUPS, list_experiments
from pgrun.tools.lab.editions import EDITIONS, find_translation, format_chinese_source
from pgrun.tools.lab.experiment import Experiment, Verdict
from pgrun.tools.lab.pages import find_faults, read_kept_result
from pgrun.tools.lab.translations import (
    find_translation_faults,
    put_numbers,
    read_group,
    read_labels,
    replace_numbers,
    translate_label,
)
from tests.helpers.support_cli import answer

BOOK = Path(__file__).parents[2] / "docs" / "lab"
EVERY = list_experiments()
ENGLISH, CHINESE = EDITIONS["en"], EDITIONS["zh"]
HAN = re.compile("[\u4e00-\u9fff]")
BY_NAME = {e.name: e for e in EVERY}


def test_every_experiment_has_its_chinese_texts() -> None:
    for group in GROUPS:
        about, entries = read_group(group.name)
        assert HAN.search(about)
        assert entries.keys() == {e.name for e in EVERY if e.group == group.name}
    for e in EVERY:
        t = find_translation(e)
        assert all(HAN.search(text) for text in (t.claim, t.finding, t.shows))
        assert t.next


def test_the_texts_are_of_the_english_as_it_is_now() -> None:
    assert find_faults(BOOK) == []


def faults_of(e: Experiment, **changes: object) -> list[str]:
    return list(
        find_translation_faults(e, replace(find_translation(e), **changes), read_kept_result(BOOK, e))
    )


def test_what_is_out_of_date_is_named() -> None:
    e = BY_NAME["n_steps"]
    translation, result = find_translation(e), read_kept_result(BOOK, e)
    assert faults_of(e) == []
    (fault,) = find_translation_faults(replace(e, shows=e.shows + " Truly."), translation, result)
    assert fault.startswith("the English has changed (claim, shows, next)")
    faults = list(find_translation_faults(e, translation, {**result, "sentence": "Refuted: 3 against 4."}))
    assert faults[0].startswith("the English has changed (finding: {0} against {1}.)")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"finding": "方差是 {99}"}, "finding: there are 8 numbers in the English"),
        (
            {"finding": "方差是 54.1"},
            "finding: ['54.1'] are written out; numbers of a result are placeholders",
        ),
        ({"shows": "超过 9 步就没有了"}, "shows: ['9'] are not in the English"),
    ],
)
def test_numbers_are_those_of_the_english(changes: dict[str, str], said: str) -> None:
    assert faults_of(BY_NAME["n_steps"], **changes) == [said]


def test_labels_of_tables_are_translated(monkeypatch) -> None:
    e = BY_NAME["n_steps"]
    without = {key: text for key, text in read_labels()[0].items() if key != "bias, n = {0}"}
    monkeypatch.setattr(translations, "read_labels", lambda: (without, read_labels.__wrapped__()[1]))
    assert faults_of(e) == ["labels.yaml has no 'bias, n = {0}'"]


def test_labels_that_no_table_has_are_gone() -> None:
    cells = {cell for e in EVERY for row in read_kept_result(BOOK, e)["table"] for cell in row}
    used = {replace_numbers(cell)[0] for cell in cells}
    assert set(read_labels()[0]) - used == set()
    words = {word for label in used - set(read_labels()[0]) for word in translations.WORD.findall(label)}
    assert read_labels()[1] - words == set()


@pytest.mark.parametrize(
    ("text", "numbered", "numbers"),
    [
        ("to -0.55 ± 2.4e-05, 32,064 of td0", "to {0} ± {1}, {2} of td0", ["-0.55", "2.4e-05", "32,064"]),
        ("K − 1 and K−1, (0.5, 1, 0)", "K − {0} and K−{1}, ({2}, {3}, {4})", ["1", "1", "0.5", "1", "0"]),
        ("1.1ᵀ, k3, c = −4: 36 %", "{0}ᵀ, k3, c = {1}: {2} %", ["1.1", "−4", "36"]),
    ],
)
def test_numbers_are_told_from_names_and_signs(text: str, numbered: str, numbers: list[str]) -> None:
    assert replace_numbers(text) == (numbered, numbers)
    assert put_numbers(numbered, numbers) == text


def test_labels_keep_their_numbers_and_names_stand() -> None:
    assert translate_label("bias, n = 16") == "偏差，n = 16"
    assert translate_label("12 of 20") == "20 个中的 12 个"
    assert translate_label("ppo_penalty") == "ppo_penalty"
    assert translate_label("0.5 ± 0.1") == "0.5 ± 0.1"


def test_no_word_of_the_frame_was_left_in_english() -> None:
    def frame(edition: object) -> dict[str, object]:
        names = (name for name in dir(edition) if not name.startswith("_"))
        return {name: value for name in names if not callable(value := getattr(edition, name))}

    same = [name for name, text in frame(ENGLISH).items() if frame(CHINESE)[name] == text]
    assert same == []
    assert {CHINESE.name_verdict(verdict) for verdict in Verdict}.isdisjoint(Verdict)
    assert format_chinese_source(BY_NAME["baseline"]).startswith("CS285 第 5 讲笔记，第 124 行；")
    assert format_chinese_source(BY_NAME["traces"]) == "Munos 等 2016，定理 1；Espeholt 等 2018，注 1"


def test_a_sentence_that_was_never_translated_says_so() -> None:
    e = BY_NAME["n_steps"]
    result = {**read_kept_result(BOOK, e), "sentence": "Refuted: all is new.", "verdict": "refuted"}
    assert CHINESE.read_outcome(e, result).sentence == "不成立：all is new.（这句话还没有译文）"


def test_the_command_speaks_chinese(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = answer(cli.main, "pgrun-lab", "--lang", "zh")
    assert listed.code == 0
    assert all(find_translation(e).claim in listed.out for e in EVERY)
    one = answer(cli.main, "pgrun-lab", *shlex.split("residual_gradient --lang zh"))
    assert one.code == 0
    for part in ("φ ← φ − β", "\n不成立：", "\n接着试：", "  状态  ", "picture.svg"):
        assert part in one.out
    other = answer(cli.main, "pgrun-lab", "--lang", "fr")
    assert (other.code, other.out) == (2, "")
    assert "invalid choice: 'fr'" in other.err


def test_both_languages_link_to_each_other() -> None:
    for page in ["README.md", *(f"{group.name}.md" for group in GROUPS)]:
        assert f"\n[中文](zh/{page})\n" in (BOOK / page).read_text()
        assert f"\n[English](../{page})\n" in (BOOK / "zh" / page).read_text()


def test_columns_of_chinese_are_aligned() -> None:
    lines = align_columns([("方差", "V̂"), ("n", "10")])
    assert [count_columns(line) for line in lines] == [count_columns("方差") + 4] * 2
