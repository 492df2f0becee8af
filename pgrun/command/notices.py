"""What is allowed and yet may not be what was meant: one line each, before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgrun.command.combination_check import gives_constant_baseline
from pgrun.command.compose import Job
from pgrun.command.environment_check import tells_mask
from pgrun.command.setting_check import classes_chosen
from pgrun.config.settings import CENTERING
from pgrun.envs.wrappers import find_statistics


def find_notices(jobs: Sequence[Job]) -> list[str]:
    """Lines about the jobs of a command, each once."""
    kinds = (
        notice_cancelled_baseline,
        estimated_telemetry,
        wrappers_with_statistics,
        tuned_for_another_policy,
    )
    notices = [line for job in jobs for kind in kinds for line in kind(job)]
    return list(dict.fromkeys([*notices, *unused_masks(jobs)]))


def unused_masks(jobs: Sequence[Job]) -> Iterator[str]:
    """Environments that tell which actions are allowed, and are not asked."""
    for env in {str(job.settings["env"]): job.settings["env"] for job in jobs}.values():
        if tells_mask(env):
            yield f"env={env['id']} tells which actions are allowed: env.action_mask=true forbids the others"


def estimated_telemetry(job: Job) -> Iterator[str]:
    """Scalars that are closed forms elsewhere."""
    for name in classes_chosen(job.settings)["policy"].estimated:
        yield (
            f"policy={job.settings['policy']['name']}: its {name} has no closed form and is estimated, in "
            f"policy/{name} and in a bonus for it; KL is exact"
        )


def tuned_for_another_policy(job: Job) -> Iterator[str]:
    """A tuned file that is worth little without its policy: Hydra lets no such file choose an option. The
    policy that reads proposals is gsde.
    """
    settings = job.settings
    typed = {word.key for word in job.words}
    if settings["usual"].get("policy") and settings["policy"]["name"] != "gsde" and "policy" not in typed:
        yield f"conf/{settings['tuned']} is made for policy=gsde: add policy=gsde to this command"


def wrappers_with_statistics(job: Job) -> Iterator[str]:
    return find_statistics(job.settings["env"]["wrappers"])


def notice_cancelled_baseline(job: Job) -> Iterator[str]:
    """Centring Ψ puts the batch's mean in the place of every constant baseline."""
    settings = job.settings
    norm, name = settings["advantage_norm"], settings["variance"]["name"]
    if norm in CENTERING and gives_constant_baseline(settings, classes_chosen(settings)):
        yield (
            f"advantage_norm={norm} subtracts the batch's mean from Ψ, whatever constant variance={name} "
            "subtracts: none, mean_baseline and leave_one_out become the same estimator; "
            "advantage_norm=scale keeps them apart"
        )
