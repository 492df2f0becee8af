"""The two languages of the laboratory: what is shown of an experiment, and the words between.

Formulas, commands and numbers are the same in both, from the same place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgrun.tools.lab.catalogue import Group
from pgrun.tools.lab.experiment import NOTES, Experiment, Verdict
from pgrun.tools.lab.translations import (
    Translation,
    read_group,
    split_verdict,
    translate_finding,
    translate_label,
)

CHINESE_VERDICTS = {
    Verdict.SUPPORTED: "成立",
    Verdict.REFUTED: "不成立",
    Verdict.DEPENDS: "要看情形",
    Verdict.INCONCLUSIVE: "尚无定论",
}
CHINESE_NOTES = {"A": "CS285 第 5 讲笔记", "B": "自然策略梯度笔记", "C": "从 REINFORCE 到 PPO 笔记"}
CHINESE_CITED = {" et al.": " 等", "; ": "；", ", ": "，", "eq.": "式", "theorem": "定理", "remark": "注"}
CITED = re.compile("|".join(map(re.escape, CHINESE_CITED)))
assert CHINESE_NOTES.keys() == NOTES.keys()


@dataclass(frozen=True)
class Texts:
    """Of an experiment, before it is run."""

    claim: str
    quotation: Sequence[str]  # the notes' own words, and their translation where it is needed
    source: str
    shows: str
    next: str


@dataclass(frozen=True)
class Outcome:
    """What came out; the verdict stands in front of the sentence."""

    sentence: str
    table: Sequence[Sequence[str]]


class English:
    """The language that the experiments are written in."""

    code = "en"
    name = "English"
    title = "The laboratory"
    introduction = (
        "The claims of lecture notes on policy gradients, tried: each is a command that ends in a table, a "
        "picture and a sentence. The notes are in Chinese; each claim is quoted, with its translation. "
        "Claims of later papers name those. Error bars and bands in the pictures are 95 % intervals; ± in a "
        "table is one standard error."
    )
    commands = (
        "    pgrun-lab                    the list\n    pgrun-lab baseline           one experiment\n"
        "    pgrun-lab --lang zh          in Chinese\n"
        "    pgrun-lab --check --jobs 2   all of them again: did an outcome change?"
    )
    written_by = (
        "These pages are written by `pgrun-lab NAME --docs docs/lab`, from the files in "
        "`pgrun/tools/lab/experiments/` that the command reads."
    )
    head = ("experiment", "claim", "verdict")
    runs_and_reads = " runs and reads"
    runs = "`pgrun-lab {}`"
    next = "*Try next:* {}"
    all_experiments = "All experiments"
    following = "Next: "
    titles = "{} ({})"  # of a group, in this language and the other one
    brackets = "({})"
    list_head = "pgrun-lab NAME tries one; --help says more"
    heading = "{name}: {claim} ({source})"
    try_next = "Try next: {}"
    picture = "the picture, for a browser: {}; beside it result.json, table.txt"
    changed = "not as expected: {}"

    def name_group(self, group: Group) -> str:
        return group.title

    def name_group_elsewhere(self, group: Group) -> str:
        """The group's title in the other language."""
        return group.chinese

    def read_about(self, group: Group) -> str:
        return group.about

    def read_texts(self, e: Experiment) -> Texts:
        return Texts(e.claim, [text for text in (e.chinese, e.english) if text], e.source, e.shows, e.next)

    def name_verdict(self, verdict: str) -> str:
        return verdict

    def read_outcome(self, e: Experiment, result: Mapping[str, Any]) -> Outcome:
        return Outcome(result["sentence"], result["table"])


class Chinese(English):
    code = "zh"
    name = "中文"
    title = "实验室"
    introduction = (
        "策略梯度讲义里的论断，一条一条试过：每一条都是一个命令，最后给出一张表、一张图和一句话。"
        "讲义的原话照录；出自后来论文的论断注明论文。公式、命令和数字与英文页出自同一处，图中的文字是英文。"
        "图中的误差线和色带都是 95 % 区间；表中的 ± 是一个标准误。"
    )
    commands = (
        "    pgrun-lab --lang zh            列出全部实验\n"
        "    pgrun-lab baseline --lang zh   做一个实验\n"
        "    pgrun-lab --check --jobs 2     全部重做一遍：结果有没有变？"
    )
    written_by = "这些页面由 `pgrun-lab NAME --docs docs/lab` 写成，译文在 `pgrun/tools/lab/chinese/`。"
    head = ("实验", "论断", "结论")
    runs_and_reads = " 运行并解读："
    runs = "`pgrun-lab {} --lang zh`"
    next = "*接着试：* {}"
    all_experiments = "全部实验"
    following = "下一页："
    titles = "{}（{}）"
    brackets = "（{}）"
    list_head = "pgrun-lab 名字 --lang zh 做一个实验；--help 列出全部选项"
    heading = "{name}：{claim}（{source}）"
    try_next = "接着试：{}"
    picture = "图（用浏览器打开）：{}；旁边有 result.json 和 table.txt"
    changed = "与应有的结果不符：{}"

    def name_group(self, group: Group) -> str:
        return group.chinese

    def name_group_elsewhere(self, group: Group) -> str:
        return group.title

    def read_about(self, group: Group) -> str:
        return read_group(group.name)[0]

    def read_texts(self, e: Experiment) -> Texts:
        translation = find_translation(e)
        quotation = [e.chinese] if e.chinese else []
        return Texts(
            translation.claim, quotation, format_chinese_source(e), translation.shows, translation.next
        )

    def name_verdict(self, verdict: str) -> str:
        return CHINESE_VERDICTS[Verdict(verdict)]

    def read_outcome(self, e: Experiment, result: Mapping[str, Any]) -> Outcome:
        """A sentence that was never translated (another machine may find something else) stays English."""
        english = split_verdict(result["sentence"])[1]
        finding = translate_finding(find_translation(e), english) or f"{english}（这句话还没有译文）"
        table = [[translate_label(cell) for cell in row] for row in result["table"]]
        return Outcome(f"{self.name_verdict(result['verdict'])}：{finding}", table)


EDITIONS = {edition.code: edition for edition in (English(), Chinese())}


def find_translation(e: Experiment) -> Translation:
    return read_group(e.group)[1][e.name]


def format_chinese_source(e: Experiment) -> str:
    """``CS285 第 5 讲笔记，第 38–40 行``, or ``Munos 等 2016，定理 1``."""
    if not e.chinese:
        return CITED.sub(lambda word: CHINESE_CITED[word[0]], e.place)
    parts = (part.partition(" ") for part in e.place.split("; "))
    return "；".join(
        f"{CHINESE_NOTES[key]}，第 {lines.replace('L', '').replace(', ', '、')} 行" for key, _, lines in parts
    )
