"""What TensorBoard shows beside scalars, read back from the protocol buffers that it reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata

from pgrun.storage.git_commit import find_commit
from pgrun.storage.log import ALWAYS, WITH_CLIPPING, WITH_CRITIC, WITH_OPTIMIZER
from pgrun.storage.tensorboard_cards import CHARTS, RETURNS, command_of, make_card, make_layout
from pgrun.storage.tensorboard_experiment import write_experiment

LR = "optimizer.lr"
HASH = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = {
    "algo": {"name": "ppo", "clip": 0.2},
    "variance": {"name": "gae"},
    "env": {"id": "X-v0", "max_episode_steps": None},
    "seed": 3,
    "optimizer": {"lr": 1e-3, "schedule": "linear"},
    "state_norm": True,
}


def layout_of(tags: tuple[str, ...]) -> layout_pb2.Layout:
    return layout_pb2.Layout.FromString(make_layout(tags).value[0].tensor.string_val[0])


def test_returns_come_first_with_their_least_and_most() -> None:
    first = layout_of(ALWAYS).category[0]
    assert first.title == "returns"
    lines = [list(chart.multiline.tag) for chart in first.chart if chart.HasField("multiline")]
    assert lines[:2] == [["^return/eval$"], ["^return/train$"]], "TensorBoard draws lines before margins"
    margins = [chart.margin.series[0] for chart in first.chart if chart.HasField("margin")]
    series = margins[0]
    assert (series.value, series.lower, series.upper) == ("return/eval", "return/eval_min", "return/eval_max")


def test_charts_are_of_tags_that_there_are() -> None:
    known = {*ALWAYS, *WITH_CRITIC, *WITH_CLIPPING, *WITH_OPTIMIZER}
    assert {tag for _, charts in CHARTS for _, tags in charts for tag in tags} <= known
    assert {f"{tag}{part}" for tag in RETURNS.values() for part in ("", "_min", "_max")} <= known
    titles = [chart.title for category in layout_of(ALWAYS).category for chart in category.chart]
    assert "explained variance" not in titles, "of a critic, which this run has not"
    assert len(set(titles)) == len(titles)


def card_of(folder: Path) -> str:
    return make_card(folder, SETTINGS, "torch").value[0].tensor.string_val[0].decode()


def test_the_card_says_what_ran(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    words = ["algo=ppo", "env.kwargs.x='a b'", "x=`id`|<script>\x1b[2J"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words))
    (tmp_path / "1").mkdir()
    assert command_of(tmp_path / "1") == command_of(tmp_path), "seeds are of the command above them"
    card = card_of(tmp_path)
    assert "| run | `ppo · gae · X-v0 · seed 3` |" in card
    assert "| torch | `" in card
    assert "\x1b" not in card
    assert all(line.count("`") == 2 for line in card.splitlines()[2:]), "no cell ends before its end"


def test_a_card_without_a_command(tmp_path: Path) -> None:
    """Trained from Python, or with a file that is no list of words."""
    assert "| command" not in card_of(tmp_path)
    (tmp_path / ".hydra").mkdir()
    for text in ("{", "5", "!!python/object:os.system {}"):
        (tmp_path / ".hydra" / "overrides.yaml").write_text(text)
        assert "| command" not in card_of(tmp_path)


def git(folder: Path, head: str, **files: str) -> Path:
    for name, text in {"HEAD": head, **files}.items():
        (folder / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / ".git" / name).write_text(text)
    return folder


def test_commits(tmp_path: Path) -> None:
    assert find_commit(git(tmp_path / "detached", f"{HASH}\n")) == HASH
    branch = git(tmp_path / "branch", "ref: refs/heads/my/branch\n", **{"refs/heads/my/branch": f"{HASH}\n"})
    assert find_commit(branch / "deep" / "er") == HASH
    packed = f"# pack-refs\n{HASH} refs/heads/main\n{'f' * 40} refs/heads/remain\n"
    assert find_commit(git(tmp_path / "packed", "ref: refs/heads/main\n", **{"packed-refs": packed})) == HASH
    assert find_commit(git(tmp_path / "new", "ref: refs/heads/main\n")) is None
    (tmp_path / "secret").write_text(HASH)
    for head in ("ref: refs/heads/../../../../secret", "ref: /etc/passwd", "", "x" * 50):
        assert find_commit(git(tmp_path / "hostile", head)) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="asks git itself")
def test_git_says_the_same_of_a_repository_and_its_worktree(tmp_path: Path) -> None:
    def ask(*words: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path / "a"), *who, *words], capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    (tmp_path / "a").mkdir()
    ask("init", "-q")
    ask("commit", "-q", "--allow-empty", "-m", "one")
    ask("worktree", "add", "-q", str(tmp_path / "b"))
    assert find_commit(tmp_path / "a") == find_commit(tmp_path / "b") == ask("rev-parse", "HEAD")


def experiment_of(folder: Path) -> api_pb2.Experiment:
    actual = EventAccumulator(str(folder)).Reload().PluginTagToContent("hparams")
    return metadata.parse_experiment_plugin_data(actual[metadata.EXPERIMENT_TAG])


def with_(**changes: dict) -> dict:
    return {**SETTINGS, **{name: {**SETTINGS[name], **change} for name, change in changes.items()}}


def test_a_sweep_opens_on_returns_and_on_what_differs(tmp_path: Path) -> None:
    jobs = [with_(optimizer={"lr": lr}) | {"seed": s} for lr in (1e-3, 1e-2) for s in (0, 1)]
    write_experiment(tmp_path, jobs, ("optimizer.lr", "seed"))
    experiment = experiment_of(tmp_path)
    assert [metric.name.tag for metric in experiment.metric_infos] == ["return/eval", "return/train"]
    (column,) = experiment.hparam_infos
    assert (column.name, column.type) == ("optimizer.lr", api_pb2.DATA_TYPE_FLOAT64)
    assert (column.domain_interval.min_value, column.domain_interval.max_value) == (1e-3, 1e-2)


@pytest.mark.parametrize(
    ("jobs", "swept", "columns"),
    [
        ([with_(algo={"name": "a2c"}), with_()], ("algo",), {"algo.name": "STRING"}),
        ([with_(env={"id": "Y"}), with_()], ("env", "seed"), {"env.id": "STRING"}),
        ([with_(), {**with_(), "state_norm": False}], ("state_norm",), {"state_norm": "BOOL"}),
        ([with_(optimizer={"lr": 5}), with_(optimizer={"lr": None})], (LR,), {LR: "FLOAT64"}),
        ([with_(algo={"clip": 0.1}), with_()], ("experiment",), {"algo.clip": "FLOAT64"}),
        ([with_(), with_() | {"seed": 4}], ("seed",), {"algo.name": "STRING", "env.id": "STRING"}),
    ],
)  # fmt: skip
def test_columns_have_one_type(jobs: list[dict], swept: tuple, columns: dict, tmp_path: Path) -> None:
    write_experiment(tmp_path, jobs, swept)
    collected = {info.name: api_pb2.DataType.Name(info.type) for info in experiment_of(tmp_path).hparam_infos}
    assert collected == {name: f"DATA_TYPE_{kind}" for name, kind in columns.items()}


def test_a_sweep_that_grew_has_one_record(tmp_path: Path) -> None:
    for lrs in ((1, 2), (1, 2, 3)):
        write_experiment(tmp_path, [with_(optimizer={"lr": lr}) for lr in lrs], ("optimizer.lr",))
    (column,) = experiment_of(tmp_path).hparam_infos
    assert column.domain_interval.max_value == 3
    assert len(list(tmp_path.iterdir())) == 1
