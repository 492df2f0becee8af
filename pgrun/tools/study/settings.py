"""What a study is told, beside the groups env, network, critic and variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pgrun.config.schema import NonNegativeInt, Positive, PositiveInt, Probability, Range
from pgrun.config.settings import AdvantageNorm

OWN = "pgrun.tools.study.critics"  # where critics that only a study has are looked up
AtLeastTwo = Annotated[int, Range(2)]  # of which a variance can be taken
TERMS = "pgrun.tools.study.zero_mean_schemes"  # and schemes


@dataclass(frozen=True)
class Study:
    """Top-level keys of conf/study.yaml.

    ``episodes`` in groups of ``batch`` make M = ⌊episodes/batch⌋ independent estimates of the gradient.
    """

    seed: NonNegativeInt = 0
    gamma: Probability | None = None
    run: str | None = None
    schemes: Any = None  # names, or {name: {setting: value}}
    discounting: Literal["from_start", "reward_to_go"] = "from_start"
    advantage_norm: AdvantageNorm = "none"  # over each estimate's own episodes
    episodes: PositiveInt = 2000
    batch: PositiveInt = 20
    group: PositiveInt = 1  # episodes from each start
    shared: Literal["seed", "start"] = "seed"  # what they share
    reference: Literal["auto", "exact", "sampled"] = "auto"
    reference_episodes: PositiveInt | None = None
    critic_episodes: NonNegativeInt = 500
    weights: Any = None  # names, or {name: {truncate: value}}: of another policy's episodes
    pathwise: bool = False  # the gradient through the problem too, on pgrun/LQ1-v0
    by_step: PositiveInt | None = None  # how many time steps
    fisher: tuple[PositiveInt, ...] = ()  # samples of the outer products
    cg: PositiveInt | None = None  # iterations
    repeats: PositiveInt = 10
    picture: bool = True
    threads: PositiveInt = 1
    modules: tuple[str, ...] = ()

    @property
    def estimates(self) -> int:
        return self.episodes // self.batch


@dataclass(frozen=True)
class Table:
    """The section ``policy``: a tabular softmax policy, given or climbed to, instead of a fresh network."""

    theta: Any = None  # logits [S·A] state by state, or π(action 0) of two actions
    ascent: Probability | None = None

    @property
    def wanted(self) -> bool:
        return self.theta is not None or self.ascent is not None


@dataclass(frozen=True)
class Behaviour:
    """The section ``behaviour``: another policy collects, given as ``policy.theta`` is, or at a mean KL in a
    random direction.
    """

    theta: Any = None
    distance: Positive | None = None

    @property
    def wanted(self) -> bool:
        return self.theta is not None or self.distance is not None


@dataclass(frozen=True)
class KlReference(Behaviour):
    """The section ``kl``: the policy that the KL is measured from, given as ``behaviour`` is."""


@dataclass(frozen=True)
class Decompose:
    """The section ``decompose``: the variance of one step's term, by state, action and the rest.

    ``exact`` sums over all episodes of a table; ``sampled`` puts ``states`` visited states back and plays
    ``rests`` continuations of each of ``actions`` actions; ``auto``: exact where the episodes can be listed.
    """

    by: Literal["auto", "exact", "sampled"] | None = None
    states: AtLeastTwo = 200
    actions: AtLeastTwo = 8
    rests: AtLeastTwo = 4


@dataclass(frozen=True)
class Step:
    """The section ``step``: steps along ∇J of a given length in θ, along F⁻¹∇J of a given KL."""

    distance: Positive | None = None
    kl: Positive | None = None

    @property
    def wanted(self) -> bool:
        return self.distance is not None or self.kl is not None
