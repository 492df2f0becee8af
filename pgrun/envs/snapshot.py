"""Where one environment stands, read from it and put back exactly: nothing is played
again, however long its episode is.

That is possible where everything an environment keeps is known: gymnasium's classic control and MuJoCo tasks
and the teaching problems, in the wrappers that ``gymnasium.make`` puts around them. Others are played again
(``replay``).
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, TimeLimit

KNOWN = ("gymnasium.envs.classic_control.", "gymnasium.envs.mujoco.", "pgrun.envs.problems.teaching")
LAYERS = {TimeLimit: "_elapsed_steps", OrderEnforcing: "_has_reset"}  # wrappers, and what each keeps
CONSTANT = ("_ezpickle_args", "_ezpickle_kwargs")  # what it was made with


class ByState:
    """One column, of which nothing has to be noted but how many ``steps`` its episode has."""

    steps = 0

    def begin(self, env: gym.Env, seed: int | None) -> None:
        self.steps = 0

    def act(self, action: Any) -> None:
        self.steps += 1

    def came(self, reward: Any, terminated: Any, truncated: Any) -> None:
        pass

    def state_dict(self, env: gym.Env) -> dict[str, Any]:
        return {"steps": self.steps, **read_state(env)}

    def bring_back(self, env: gym.Env, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` where ``state`` is not that of such an environment."""
        self.steps = int(state["steps"])
        put_back(env, state)


def list_wrappers(env: gym.Env) -> list[gym.Env]:
    """The wrappers from the outside, and the environment itself at the end."""
    wrappers = [env]
    while isinstance(env, gym.Wrapper):
        env = env.env
        wrappers.append(env)
    return wrappers


def can_be_read(env: gym.Env) -> bool:
    """Whether the state is known by the exact class: a class of the user's that is derived from a known one
    may keep more.
    """
    *wrappers, inner = list_wrappers(env)
    known = all(type(wrapper) in LAYERS for wrapper in wrappers) and inner.render_mode is None
    return known and f"{type(inner).__module__}.".startswith(KNOWN)


def read_state(env: gym.Env) -> dict[str, Any]:
    """The state of an environment: its random generator, what its wrappers count, every attribute that is
    made of numbers, and the state of its simulator.
    """
    *wrappers, inner = list_wrappers(env)
    attributes = {name: pack_exactly(x) for name, x in vars(inner).items() if is_changeable_state(name, x)}
    return {
        "generator": inner.np_random.bit_generator.state,
        "wrappers": [getattr(wrapper, LAYERS[type(wrapper)]) for wrapper in wrappers],
        "attributes": attributes,
        "simulator": read_mujoco(inner) if is_simulated(inner) else None,
    }


def put_back(env: gym.Env, state: dict[str, Any]) -> None:
    """The inverse; only what ``read_state`` reads is ever written to. Raises ``ValueError``."""
    *wrappers, inner = list_wrappers(env)
    names = {name for name, x in vars(inner).items() if is_changeable_state(name, x)}
    if set(state["attributes"]) != names:
        raise ValueError(
            f"{inner} keeps {', '.join(sorted(names))}, and not {', '.join(state['attributes'])}"
        )
    inner.np_random.bit_generator.state = state["generator"]
    for wrapper, value in zip(wrappers, state["wrappers"], strict=True):
        setattr(wrapper, LAYERS[type(wrapper)], value)
    for name, value in state["attributes"].items():
        setattr(inner, name, require_fitting_shape(name, unpack_exactly(value), getattr(inner, name)))
    if is_simulated(inner):
        put_back_mujoco(inner, state["simulator"])


def is_changeable_state(name: str, x: Any) -> bool:
    """Whether an attribute is part of where an environment stands: spaces, models,
    texts and settings are not.
    """
    if isinstance(x, list | tuple):
        return name not in CONSTANT and all(is_changeable_state(name, part) for part in x)
    return x is None or isinstance(x, bool | int | float | np.generic | np.ndarray)


def pack_exactly(x: Any) -> Any:
    """A copy that keeps its type when it is saved: NumPy's numbers as arrays, marked by a dictionary."""
    if isinstance(x, np.generic):
        return {"number": np.array(x)}
    if isinstance(x, list | tuple):
        return type(x)(pack_exactly(part) for part in x)
    return x.copy() if isinstance(x, np.ndarray) else x


def unpack_exactly(x: Any) -> Any:
    """The inverse. Raises ``ValueError`` for what is not made of numbers."""
    if isinstance(x, dict):
        return x["number"][()]
    if isinstance(x, list | tuple):
        return type(x)(unpack_exactly(part) for part in x)
    if not is_changeable_state("", x):
        raise ValueError(f"{type(x).__name__} in place of a number")
    return x.copy() if isinstance(x, np.ndarray) else x


def require_fitting_shape(name: str, given: Any, now: Any) -> Any:
    """``given``.

    Raises ``ValueError`` where an array would change its shape; it may change its type, as gymnasium's
    ``state`` does.
    """
    if isinstance(now, np.ndarray) and isinstance(given, np.ndarray) and now.shape != given.shape:
        raise ValueError(f"{name}: {list(now.shape)} wanted, not {list(given.shape)}")
    return given


COMPUTED = (  # of MjData: what observations, rewards and ends of an environment may be made of
    *(
        "xpos",
        "xquat",
        "xmat",
        "xipos",
        "ximat",
        "xanchor",
        "xaxis",
        "geom_xpos",
        "geom_xmat",
        "site_xpos",
        "site_xmat",
    ),
    *(
        "subtree_com",
        "subtree_linvel",
        "cinert",
        "cvel",
        "cacc",
        "cfrc_ext",
        "cfrc_int",
        "qacc",
        "qfrc_actuator",
    ),
    *(
        "qfrc_constraint",
        "qfrc_passive",
        "qfrc_bias",
        "actuator_force",
        "actuator_length",
        "actuator_velocity",
    ),
    *("ten_length", "ten_velocity", "sensordata", "energy"),
)


def is_simulated(env: gym.Env) -> bool:
    return type(env).__module__.startswith("gymnasium.envs.mujoco.")


def read_mujoco(env: Any) -> dict[str, np.ndarray]:
    """What a step starts from, and what the last one has computed: Ant and Humanoid read positions of before
    their step there.

    mjSTATE_INTEGRATION is documented to give the same trajectory to the bit. Of what is computed, the arrays
    that environments read: contacts, constraints and islands are made anew in every step, in memory that is
    not theirs in between.
    """
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(env.model, kind))
    mujoco.mj_getState(env.model, env.data, state, kind)
    computed = [np.ascontiguousarray(x).view(np.uint8).ravel() for x in computed_arrays(env).values()]
    return {"state": state, "computed": np.concatenate(computed)}


def put_back_mujoco(env: Any, given: dict[str, np.ndarray]) -> None:
    import mujoco

    now = read_mujoco(env)
    for name in now:
        require_fitting_shape(name, given[name], now[name])
    at = 0
    for x in computed_arrays(env).values():
        x[...] = given["computed"][at : at + x.nbytes].view(x.dtype).reshape(x.shape)
        at += x.nbytes
    mujoco.mj_setState(env.model, env.data, given["state"], mujoco.mjtState.mjSTATE_INTEGRATION)


def computed_arrays(env: Any) -> dict[str, np.ndarray]:
    """Views into the simulator's memory, by name."""
    arrays = {name: getattr(env.data, name) for name in COMPUTED}
    return {name: x for name, x in arrays.items() if x.size}
