"""A search in Optuna's own tools: python examples/search_to_optuna.py SEARCH_DIR.

The study goes to SEARCH_DIR/optuna.db, which optuna-dashboard shows, and what mattered is printed: the share
of the returns' variance over trials that each setting explains (fANOVA, Hutter et al. 2014).
"""

import json
import sys
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def main(folder: str | Path) -> optuna.Study:
    search = json.loads(Path(folder, "search.json").read_text())
    trials = search["trials"]
    space = {
        key: find_distribution(typed, [t[key] for t in trials]) for key, typed in search["space"].items()
    }
    place = Path(folder, "optuna.db")
    place.unlink(missing_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=Path(folder).name, storage=f"sqlite:///{place}", direction="maximize"
    )
    for number, values in enumerate(trials):
        ended = read_result(Path(folder), number)
        pruned = ended.get("status") != "finished"
        study.add_trial(
            optuna.trial.create_trial(
                params={key: as_choice(value) for key, value in values.items()},
                distributions=space,
                value=None if pruned else ended["eval"]["return_mean"],
                state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
            )
        )
    for key, share in optuna.importance.get_param_importances(study).items():
        print(f"{key:<24} {share:.2f}")
    print(f"look at it: optuna-dashboard sqlite:///{place}")
    return study


def find_distribution(typed: str, values: list) -> BaseDistribution:
    """That of a word of the command: its interval, or the values that were tried."""
    if "interval" not in typed:
        return CategoricalDistribution(sorted({as_choice(value) for value in values}, key=str))
    kind = IntDistribution if typed.startswith("int(") else FloatDistribution
    return kind(min(values), max(values), log="log" in typed)


def as_choice(value: object) -> object:
    """Optuna keeps text and numbers: a list is its text."""
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def read_result(folder: Path, number: int) -> dict:
    """summary.json of a trial; {} where it has none."""
    files = [*folder.glob(f"{number}_*/summary.json"), *folder.glob(f"{number}/summary.json")]
    return json.loads(files[0].read_text()) if files else {}


if __name__ == "__main__":
    main(sys.argv[1])
