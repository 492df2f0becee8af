"""The peer in JAX: PPO with 4 environments × 128 steps on CartPole-v1, the whole run one compiled program.

    pip install -c constraints.txt -e ".[bench-jax]"
    python benchmarks/jax_ppo.py --repeats 3
    time python benchmarks/jax_ppo.py --once --steps 100000     # one run, from the shell

Written for this comparison, after the form of PureJaxRL (Lu et al. 2022): environment, rollout and update are
scans over arrays. The recipe is that of ``experiment=recipe_ppo_4x128``: separate 64-64 tanh networks, GAE
0.95, four epochs of four minibatches whose advantages are standardised, value clipping, Adam with a linear
schedule and clipped gradients. What it leaves out is what a JAX run leaves out: logs, checkpoints, readings
of the gradient's variance. Compilation is timed by itself.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import optax

ENVS, STEPS, EPOCHS, MINIBATCHES, WIDTH = 4, 128, 4, 4, 64
GAMMA, LAM, CLIP, ENTROPY, LR, LIMIT = 0.99, 0.95, 0.2, 0.01, 2.5e-4, 500


class Row(NamedTuple):
    """One step of all environments."""

    obs: Any
    action: Any
    log_prob: Any
    value: Any
    reward: Any
    ended: Any


def reset(key):
    return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)


def step(state, time_, action, key):
    """CartPole's equations (Barto, Sutton & Anderson 1983), as gymnasium has them, with a reset at the end.

    (state, steps since the start, whether the episode ended); a time limit counts as an end, as in PureJaxRL.
    """
    x, speed, angle, turning = state
    force = jnp.where(action == 1, 10.0, -10.0)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    push = (force + 0.05 * turning**2 * sin) / 1.1
    spin = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    shift = push - 0.05 * spin * cos / 1.1
    after = jnp.array([x + 0.02 * speed, speed + 0.02 * shift, angle + 0.02 * turning, turning + 0.02 * spin])
    terminated = (jnp.abs(after[0]) > 2.4) | (jnp.abs(after[2]) > 12 * jnp.pi / 180)
    ended = terminated | (time_ + 1 >= LIMIT)
    return jnp.where(ended, reset(key), after), jnp.where(ended, 0, time_ + 1), ended


def init_net(key, outputs, gain):
    sizes, layers = (4, WIDTH, WIDTH, outputs), []
    for k, (inner, outer) in enumerate(pairwise(sizes)):
        key, own = jax.random.split(key)
        scale = gain if k == 2 else 2**0.5
        layers.append((jax.nn.initializers.orthogonal(scale)(own, (inner, outer)), jnp.zeros(outer)))
    return layers


def apply_net(layers, x):
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def loss(params, rows, advantage, target):
    actor, critic = params
    log_p = jax.nn.log_softmax(apply_net(actor, rows.obs))
    taken = jnp.take_along_axis(log_p, rows.action[:, None], 1)[:, 0]
    ratio = jnp.exp(taken - rows.log_prob)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    value = apply_net(critic, rows.obs)[:, 0]
    near = rows.value + jnp.clip(value - rows.value, -CLIP, CLIP)
    fit = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
    entropy = -(jnp.exp(log_p) * log_p).sum(1).mean()
    return fit - gain - ENTROPY * entropy


def update(optimizer, carry, _):
    """A rollout, and the epochs on it."""
    params, opt, state, clock, key = carry

    def act(held, key):
        state, clock = held
        choose, renew = jax.random.split(key)
        log_p = jax.nn.log_softmax(apply_net(params[0], state))
        action = jax.random.categorical(choose, log_p)
        log_prob = jnp.take_along_axis(log_p, action[:, None], 1)[:, 0]
        value = apply_net(params[1], state)[:, 0]
        after, later, ended = jax.vmap(step)(state, clock, action, jax.random.split(renew, ENVS))
        return (after, later), Row(state, action, log_prob, value, jnp.ones(ENVS), ended)

    key, own = jax.random.split(key)
    (state, clock), rows = jax.lax.scan(act, (state, clock), jax.random.split(own, STEPS))

    def back(held, row):
        advantage, following = held
        delta = row.reward + GAMMA * following * (1 - row.ended) - row.value
        advantage = delta + GAMMA * LAM * (1 - row.ended) * advantage
        return (advantage, row.value), advantage

    last = apply_net(params[1], state)[:, 0]
    _, advantage = jax.lax.scan(back, (jnp.zeros(ENVS), last), rows, reverse=True)
    data = jax.tree.map(
        lambda x: x.reshape(ENVS * STEPS, *x.shape[2:]), (rows, advantage, advantage + rows.value)
    )

    def epoch(held, key):
        order = jax.random.permutation(key, ENVS * STEPS).reshape(MINIBATCHES, -1)

        def minibatch(held, index):
            params, opt = held
            slope = jax.grad(loss)(params, *jax.tree.map(lambda x: x[index], data))
            moves, opt = optimizer.update(slope, opt)
            return (optax.apply_updates(params, moves), opt), None

        return jax.lax.scan(minibatch, held, order)

    key, own = jax.random.split(key)
    (params, opt), _ = jax.lax.scan(epoch, (params, opt), jax.random.split(own, EPOCHS))
    length = (ENVS * STEPS) / jnp.maximum(rows.ended.sum(), 1)
    return (params, opt, state, clock, key), length


@partial(jax.jit, static_argnums=1)
def train(key, updates):
    """(parameters, mean length of the episodes in each update)."""
    rate = optax.linear_schedule(LR, 0.0, updates * EPOCHS * MINIBATCHES)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))
    key, actor, critic, begin = jax.random.split(key, 4)
    params = init_net(actor, 2, 0.01), init_net(critic, 1, 1.0)
    state = jax.vmap(reset)(jax.random.split(begin, ENVS))
    start = params, optimizer.init(params), state, jnp.zeros(ENVS, int), key
    (params, *_), lengths = jax.lax.scan(partial(update, optimizer), start, None, updates)
    return params, lengths


def compile_seconds(steps: int) -> float:
    """Of the program for that many environment steps."""
    begun = time.perf_counter()
    train.lower(jax.random.key(0), steps // (ENVS * STEPS)).compile()
    return time.perf_counter() - begun


def steps_per_second(steps: int, seed: int = 0) -> float:
    """Of a run, compilation outside the clock."""
    updates = steps // (ENVS * STEPS)
    jax.block_until_ready(train(jax.random.key(seed), updates))  # compiled, where it was not
    begun = time.perf_counter()
    jax.block_until_ready(train(jax.random.key(seed + 1), updates))
    return updates * ENVS * STEPS / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="one run, with its compilation")
    args = parser.parse_args()
    if args.once:
        _, lengths = train(jax.random.key(0), args.steps // (ENVS * STEPS))
        print(f"mean episode of the last tenth {float(lengths[-len(lengths) // 10 :].mean()):.0f} steps")
        return
    spent = compile_seconds(args.steps)
    speeds = sorted(steps_per_second(args.steps, seed) for seed in range(args.repeats))
    _, lengths = train(jax.random.key(0), args.steps // (ENVS * STEPS))
    print(f"compiled in {spent:.1f} s; {median(speeds):,.0f} steps/s ({speeds[0]:,.0f} … {speeds[-1]:,.0f});")
    print(f"mean episode of the last tenth {float(lengths[-len(lengths) // 10 :].mean()):.0f} steps")


if __name__ == "__main__":
    main()
