"""Mutation check: deliberate faults in the training code, each of which the tests must catch.

    python tests/campaigns/mutations.py              all of them; exit code 1 if one survives
    python tests/campaigns/mutations.py NAME ...     some of them
    python tests/campaigns/mutations.py --list       what they are

A fault replaces one text, found exactly once, in a copy of the package; the tests that should catch it run on
the copy, in a process forked from one that has imported what pgrun needs and nothing of pgrun.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.support_fork import forked

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pgrun", "conf", "tests", "pyproject.toml")
LIMIT = 300  # seconds of computing for a file of tests: a fault that hangs is not caught
WAITING = 10  # times as long by the clock: what computes nothing, or has to share the machine
IMPORTED = ("gymnasium", "hydra", "mujoco", "numba", "scipy", "torch")  # once, for all rows
CRASHES = ("NameError", "SyntaxError", "ImportError", "TypeError", "AttributeError", "IndentationError")


@dataclass(frozen=True)
class Fault:
    """``old`` → ``new`` in ``file``, a mistake of ``kind``; ``tests``: the files that
    should catch it, in that order.
    """

    name: str
    kind: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The faulty text. Raises ``LookupError`` where the place is no longer found exactly once."""
        if (actual := text.count(self.old)) != 1:
            raise LookupError(f"{self.name}: found {actual} times in {self.file}, not once: {self.old!r}")
        return text.replace(self.old, self.new)


def fault(name: str, kind: str, file: str, old: str, new: str, tests: str) -> Fault:
    """``file`` and ``tests`` by their short names: ``returns`` is pgrun/returns.py, and also test_returns.py
    in its folder.
    """
    return Fault(name, kind, f"pgrun/{file}.py", old, new, tuple(find_test_file(x) for x in tests.split()))


def find_test_file(name: str) -> str:
    """``returns`` → ``variance/test_returns.py``. Raises ``ValueError`` unless there is exactly one."""
    (path,) = (ROOT / "tests").rglob(f"test_{name}.py")
    return path.relative_to(ROOT / "tests").as_posix()


RESET = "value[1:].where(ended == 0, torch.cat([value[2:], value[-1:]]))"
FAULTS = [
    fault("wrong_sign", "wrong sign", "algorithms/base",
          "policy.output_delta(-gained, value)", "policy.output_delta(gained, value)", "exact objective"),
    fault("entropy_sign", "wrong sign", "algorithms/base",
          "result += share", "result -= share", "objective"),
    fault("trace_cut_late", "off-by-one in ended", "returns",
          "lam * (1 - ended)", "lam * (1 - ended.roll(1, 0))", "returns"),
    fault("mask_early", "off-by-one in ended", "rollouts/trajectory",
          "~np.concatenate([self.was_ended[None], ended[:-1]])", "~ended", "sampler"),
    fault("truncation_is_termination", "off-by-one in ended", "returns",
          "(1 - terminated), lam", "(1 - ended), lam", "truncation"),
    fault("weights_differentiated", "missing detach", "algorithms/off_policy_pg",
          ".detach().view(batch.shape)", ".view(batch.shape)", "exact_off_policy"),
    fault("advantage_differentiated", "missing detach", "algorithms/base",
          "joint_delta(kept[-1], batch)",
          "joint_delta(kept[-1], batch) + batch.mask * batch.log_prob / batch.count",
          "objective"),
    fault("target_moves", "missing detach", "critics/base",
          "error = value - batch.target\n",
          "error = value - batch.target - 0.9 * (value - batch.value)\n", "updates"),
    fault("target_network_ignored", "missing detach", "critics/action_value",
          "self.net.activations(*self.slow, ", "self.net.activations(self.layers, self.free, ", "iteration"),
    fault("gamma_power", "wrong power of gamma", "variance/base",
          "weight * gamma**rollout.time", "weight * gamma ** (rollout.time + 1)", "exact"),
    fault("reset_observation", "bootstrapping from the reset observation", "returns",
          "discount * (1 - trace) * value[1:]", f"discount * (1 - trace) * {RESET}", "truncation"),
    fault("own_scalars_unchecked", "a check left out", "training/loop",
          "    require_scalars(run.algorithm.scalars, own, run.algorithm.tags)", "    pass", "own_code"),
    fault("stale_log_prob", "stale log-probabilities", "algorithms/base",
          "        weight = self.gradient_weight(log_prob, batch)",
          "        weight = self.gradient_weight(batch.log_prob, batch)", "objective"),
    fault("stale_statistics", "stale log-probabilities", "policies/normalization",
          "mean, scale = self.mean.numpy(), self.scale.numpy()",
          'mean, scale = self.__dict__.setdefault("first", '
          '(self.mean.numpy().copy(), self.scale.numpy().copy()))',
          "iteration"),
    fault("compiled_stale_statistics", "stale log-probabilities", "policies/compiled_actor",
          "mean=normaliser.mean.numpy() if",
          'mean=normaliser.__dict__.setdefault("first", normaliser.mean.numpy().copy()) if', "iteration"),
    fault("unclipped_ratio", "unclipped ratio", "algorithms/ppo",
          "(batch.mask > 0) & ~self.clipped(ratio, batch)", "batch.mask > 0", "updates"),
    fault("clip_high_ignored", "unclipped ratio", "algorithms/ppo",
          "self.epsilon if high is None else high", "self.epsilon", "ppo_ratios"),
    fault("dual_clip_of_good_actions", "wrong sign", "algorithms/ppo",
          "torch.where(batch.psi < 0, value.maximum(", "torch.where(batch.psi > 0, value.maximum(",
          "ppo_ratios"),
    fault("ratio_summed_not_averaged", "a product for a geometric mean", "policies/importance",
          "steps = empty.index_add(0, episode, batch.mask).clamp(min=1)", "steps = torch.ones_like(empty)",
          "ppo_ratios"),
    fault("episodes_cut_by_minibatches", "swapped axes", "algorithms/base",
          "shuffled_episodes if algorithm.keeps_episodes_whole else shuffle_into_minibatches",
          "shuffle_into_minibatches", "ppo_ratios"),
    fault("own_return_in_the_mean", "a biased baseline", "variance/group",
          "(r.sum(1, keepdim=True) - r) / max(group - 1, 1)", "r.mean(1, keepdim=True)", "group"),
    fault("groups_across_prompts", "swapped axes", "variance/group",
          "total.double().reshape(-1, group)", "total.double().reshape(group, -1).T", "group"),
    fault("units_are_episodes_of_groups", "dependent units", "diagnostics/gradient_variance",
          "units = columns // rollout.group if", "units = columns if", "meter"),
    fault("noise_not_shared", "a seed that is not shared", "envs/table",
          "self.draws = shared if noise_too else None", "self.draws = None", "groups"),
    fault("simulators_round_too_late", "another rounding than gymnasium's", "kernels/simulators",
          "np.float32(numbers[COST]) * squares", "numbers[COST] * squares", "simulated_player"),
    fault("simulators_go_on_after_an_end", "a reset left out", "kernels/simulators",
          "            if ended[n]:\n                break\n", "", "simulated_player"),
    fault("k3_differentiated_wrongly", "wrong sign", "policies/kl_estimators",
          "torch.expm1(-log_ratio) + log_ratio, -torch.expm1(-log_ratio)",
          "torch.expm1(-log_ratio) + log_ratio, torch.expm1(-log_ratio)", "kl_estimators"),
    fault("reference_rewarded", "wrong sign", "policies/reference",
          "reward=rollout.reward - paid", "reward=rollout.reward + paid", "reference"),
    fault("reference_moves", "an item missing from a state", "policies/reference",
          "policy.with_theta(policy.theta.clone())", "policy.with_theta(policy.theta)", "reference"),
    fault("other_kl_differentiated", "swapped axes", "policies/reference",
          "torch.autograd.grad(dist.kl(moved, near).sum(), moved)",
          "torch.autograd.grad(dist.kl(near, moved).sum(), moved)", "reference"),
    fault("kl_of_the_past", "an off-by-one in time", "tools/study/kl",
          "(self.mask * k).flip(0).cumsum(0).flip(0)", "(self.mask * k).cumsum(0)", "kl_estimators"),
    fault("correction_of_the_mean", "a biased baseline", "variance/corrected",
          "delta = pi * (q - (pi * q).sum(-1, keepdim=True))", "delta = pi * q", "corrected"),
    fault("correction_without_gamma", "wrong power of gamma", "variance/corrected",
          "self.from_time(rollout.mask, rollout, gamma)[..., None]", "rollout.mask[..., None]", "corrected"),
    fault("correction_presumed_closed", "a closed form that does not hold", "variance/corrected",
          "return not self.corrects_gradient", "return True", "corrected"),
    fault("v_trace_uncapped", "unclipped ratio", "returns",
          "ratio.clamp(max=rho_bar) * delta", "ratio * delta", "v_trace"),
    fault("v_trace_weighs_the_next", "an off-by-one in time", "returns",
          "delta + gamma * torch.cat([x[1:], nothing])", "delta + gamma * x", "v_trace"),
    fault("v_trace_fits_the_old", "stale log-probabilities", "algorithms/off_policy_pg",
          "replace(rows, target=batch.value + self.v_trace(ratio, batch)[0].flatten())", "rows", "v_trace"),
    fault("noise_drawn_anew", "stale log-probabilities", "tools/study/pathwise",
          "noise = (action - mean) / log_std.exp()", "noise = action - mean", "pathwise"),
    fault("pathwise_forgets_the_dynamics", "missing detach", "tools/study/pathwise",
          "state = p.A * state + p.B * action + pushed[t]",
          "state = (p.A * state + p.B * action + pushed[t]).detach()", "pathwise"),
    fault("past_forgotten", "an average over what is given", "tools/study/decomposition",
          "number_rows(done, reward[t], state[t + 1])", "number_rows(state[t + 1])", "decomposition"),
    fault("rest_left_in_the_action", "a biased variance", "tools/study/nested_sampling",
          "/ (actions - 1) - rest / rests", "/ (actions - 1)", "decomposition"),
    fault("continuations_alike", "a seed that is not shared", "tools/study/nested_sampling",
          "np.random.default_rng(self.draws.integers(2**63))", "np.random.default_rng(0)", "decomposition"),
    fault("beta_per_minibatch", "beta updated per minibatch", "algorithms/ppo_penalty",
          "def improve(self, batch: Batch, learner: Learner) -> None:\n        super().improve(",
          "def ascend(self, batch: Batch, learner: Learner) -> None:\n        super().ascend(", "iteration"),
    fault("kl_rule_reversed", "wrong sign", "optimization/schedules",
          "if kl > TOLERANCE * self.target_kl:", "if kl < TOLERANCE * self.target_kl:", "schedules"),
    fault("critic_and_actor_swapped", "swapped axes", "policies/pair",
          "self.actor.gradient(layers[2], kept.actor, delta[:, 1:])",
          "self.actor.gradient(layers[2], kept.actor, delta[:, :-1])", "practice"),
    fault("slope_of_another_layer", "stale log-probabilities", "policies/mlp",
          "linear(kept[k], *layers[k])", "linear(kept[k].relu(), *layers[k])", "practice"),
    fault("squashed_without_its_slope", "wrong sign", "policies/continuous",
          "super().log_prob(params, action) - log_slope", "super().log_prob(params, action) + log_slope",
          "families"),
    fault("beta_kl_turned_round", "swapped axes", "policies/continuous",
          "(log_beta(c, d) - log_beta(a, b) + moved)", "(log_beta(a, b) - log_beta(c, d) + moved)",
          "families"),
    fault("state_std_without_its_start", "stale log-probabilities", "policies/continuous",
          "return self.gaussian.kl_gradient(self.shifted(p), self.shifted(q))",
          "return self.gaussian.kl_gradient(p, q)", "families"),
    fault("gsde_features_learn_unasked", "wrong sign", "policies/gsde",
          "if not self.learn_features:", "if self.learn_features:", "gsde"),
    fault("gsde_matrix_of_an_episode_kept", "swapped axes", "rollouts/samplers/base",
          "since == 0 if self.hold is None", "since < 0 if self.hold is None", "gsde"),
    fault("gsde_score_without_the_hidden_layer", "stale log-probabilities", "policies/mlp",
          "grad = grad + of_features", "grad = grad + 0 * of_features", "gsde"),
    fault("continuations_not_counted", "a start that is ignored", "training/counters",
          "self.continued += steps", "self.env_steps -= steps", "vine"),
    fault("mask_ignored", "unclipped ratio", "policies/masked",
          "x[..., self.mask] == 0, FORBIDDEN", "x[..., self.mask] < 0, FORBIDDEN", "masks"),
    fault("mask_normalised", "normaliser frozen in training", "policies/normalization",
          "if self.left_alone is not None:", "if self.left_alone is None:", "masks normalise"),
    fault("psi_transposed", "swapped axes", "algorithms/estimator",
          "psi=(psi * rollout.mask).flatten()", "psi=(psi * rollout.mask).T.flatten()", "exact probes"),
    fault("one_answer_for_all_prompts", "a start that is ignored", "envs/problems/token_tree",
          "text[-1] == prompt % self.words", "text[-1] == 0", "token_tree"),
    fault("units_transposed", "swapped axes", "variance/leave_out",
          "x.transpose(0, 1).flatten(0, 1)", "x.flatten(0, 1)", "meter"),
    fault("normaliser_frozen", "normaliser frozen in training", "training/loop",
          "run.policy.normaliser.update(rollout)", "pass", "normalise"),
    fault("reward_scale_frozen", "normaliser frozen in training", "training/loop",
          "run.scale.update(rollout)", "pass", "iteration"),
    fault("minibatch_divisor", "a divisor that does not shrink with the minibatch", "types",
          'count=self.count * len(chosen["mask"]) / len(self.mask)', "count=self.count", "objective"),
    fault("radius_ignored", "a step outside the trust region", "algorithms/trpo",
          "if not bool(kl <= self.kl_radius):", "if False:", "natural"),
    fault("scale_centres", "a constant baseline cancelled", "variance/advantage_norm",
          "    if norm in CENTERING:\n        x = x -",
          "    if norm != \"none\":\n        x = x -", "advantage_norm"),
    fault("self_normalised_over_the_living", "an inconsistent estimator", "algorithms/off_policy_pg",
          "weight / weight.mean(1, keepdim=True)",
          "weight / ((m := batch.mask.view(batch.shape)) * weight).sum(1, True) "
          "* m.sum(1, True).clamp(min=1)",
          "off_policy_weights"),
    fault("value_subtracted_twice", "V subtracted twice", "algorithms/off_policy_ac",
          "replace(seen, q=critic.action_values(seen))",
          "replace(seen, q=critic.action_values(seen) "
          "- (self.baseline == 'v') * critic.value(rollout.obs[:-1]))",
          "off_policy_ac"),
    fault("closed_form_presumed", "a closed form that does not hold", "diagnostics/gradient_variance",
          "closed = estimator.has_closed_form(rollout)", "closed = not estimator.scheme.sees_scores",
          "meter"),
    fault("kl_before_the_line_search", "told of another step than the one taken", "algorithms/npg",
          "0.5 * (taken * size).square()", "0.5 * size.square()", "step_taken"),
    fault("kl_with_damping", "told of another step than the one taken", "algorithms/npg",
          "product = fisher_product(policy, batch, 0.0, ",
          "product = fisher_product(policy, batch, self.damping, ", "step_taken"),
    fault("size_of_no_step", "told of another step than the one taken", "training/loop",
          "policy.with_theta(policy.theta.clone())", "policy.with_theta(policy.theta)", "step_taken"),
    fault("search_without_bonus", "another objective judged than differentiated", "algorithms/trpo",
          "return surrogate + bonus + linear", "return surrogate + linear", "step_taken"),
    fault("search_without_correction", "another objective judged than differentiated", "algorithms/trpo",
          "return surrogate + bonus + linear", "return surrogate + bonus", "step_taken"),
    fault("kl_reversed", "KL(new‖old) for KL(old‖new)", "optimization/natural_gradient",
          "policy.dist.kl(batch.params, policy.params(batch.obs) if params is None else params)",
          "policy.dist.kl(policy.params(batch.obs) if params is None else params, batch.params)", "natural"),
    fault("stale_positions_lost", "an item missing from a state", "envs/snapshot",
          'x[...] = given["computed"][at : at + x.nbytes].view(x.dtype).reshape(x.shape)',
          "pass", "snapshot"),
    fault("elapsed_steps_lost", "an item missing from a state", "envs/snapshot",
          "setattr(wrapper, LAYERS[type(wrapper)], value)", "pass", "snapshot"),
    fault("rewards_not_compared", "a replay that is not compared", "envs/replay",
          "if float(reward) != self.rewards[t]:", "if False:", "replayed"),
    fault("storm_of_the_same_policy", "stale log-probabilities", "algorithms/storm_pg",
          'policy.with_theta(self.memory["theta"])', "policy.with_theta(policy.theta)", "storm_pg"),
    fault("storm_is_momentum", "a biased baseline", "algorithms/storm_pg",
          '(self.memory["direction"] - of_past)', '(self.memory["direction"] - gradient)', "storm_pg"),
    fault("bound_too_near", "a constant too small", "diagnostics/monotone_bound",
          "constant = 4 * advantage.abs().max()", "constant = 0.01 * advantage.abs().max()",
          "monotone_bound"),
    fault("surrogate_a_step_late", "an off-by-one in time", "diagnostics/monotone_bound",
          "gained[min(p.horizon - t - 1, len(q) - 1)]", "gained[min(p.horizon - t, len(q) - 1)]",
          "monotone_bound"),
    fault("pixels_transposed", "swapped axes", "policies/networks/cnn",
          ".movedim(-1, 1) / self.divisor", ".movedim(-1, 1).mT / self.divisor", "convolutional"),
    fault("continued_with_the_same_noise", "a seed that is not shared", "rollouts/continuations",
          "pool[i].unwrapped.np_random = np.random.default_rng(random.integers(2**62))", "pass", "vine"),
    fault("continued_from_the_start_of_time", "an off-by-one in time", "envs/table",
          "self._see(at.copy(), steps.copy())", "self._see(at.copy(), 0 * steps)", "vine"),
    fault("continued_beyond_the_end", "off-by-one in ended", "rollouts/continuations",
          "alive &= ~columns.ended", "alive &= ~columns.ended | (discount > 0.95)", "vine"),
    fault("retrace_weighs_the_given_action", "an off-by-one in time", "returns",
          "torch.cat([ratio[1:], torch.zeros_like(ratio[:1])])", "ratio", "retrace"),
    fault("retrace_of_the_old_values", "stale log-probabilities", "algorithms/retrace",
          '"v": (policy.params(batch.obs)', '"v": 0 * known["v"] + (0 * policy.params(batch.obs)', "retrace"),
    fault("meter_of_the_scheme", "another estimate's variance", "algorithms/estimator",
          "apart <= SAME_PSI * psi.abs().max()", "apart.isfinite()", "meter_of_the_update"),
    fault("critic_told_of_the_old_targets", "stale targets", "training/loop",
          "critic_rows=run.algorithm.critic_rows(batch, run.policy)", "critic_rows=batch.for_critic",
          "meter_of_the_update"),
    fault("loss_of_the_old_values", "stale targets", "diagnostics/update",
          "algorithm.renew_values(batch, policy)", "batch", "meter_of_the_update"),
    fault("joint_v_trace_fits_the_usual", "stale targets", "algorithms/off_policy_pg",
          "target=self.critic_rows(batch, policy).target", "target=batch.target", "meter_of_the_update"),
    fault("every_action_fitted", "a row that is not taken", "critics/fitted_q",
          "scatter_(-1, taken, delta[:, None])", "add_(delta[:, None])", "fitted_q"),
    fault("q_bootstraps_from_the_largest", "a biased target", "critics/fitted_q",
          "(self.policy.params(rollout.obs).softmax(-1) * self.every(rollout.obs)).sum(-1)",
          "self.every(rollout.obs).max(-1)[0]", "fitted_q"),
    fault("clipped_score_of_the_draw", "the score of another variable", "policies/clipped",
          "of_std = torch.where(beyond, -hazard * x, of_std)", "of_std = of_std + 0 * hazard", "clipped"),
    fault("clipped_lump_mirrored", "wrong sign", "policies/clipped",
          "zip(self.tails(params), (-1, 1), (action", "zip(self.tails(params), (1, -1), (action", "clipped"),
    fault("compiled_wrong_sign", "wrong sign", "kernels/minibatch",
          "+ head + k] = -up[i, k]", "+ head + k] = up[i, k]", "compiled_updates"),
    fault("radius_that_never_falls", "a schedule that nothing reads", "algorithms/npg",
          "2 * self.kl_radius", "2 * self.delta", "schedules"),
    fault("replay_with_actions_beyond_the_limits", "Q of actions that the environment would clip",
          "kernels/replayed_iterations", "low[k] if x < low[k] else (high[k] if x > high[k] else x)", "x",
          "iterations"),
    fault("replay_with_old_statistics", "states normalised as at the start",
          "compiled/iterations/replayed_updates", "                policy.normaliser.update(rollout)\n", "",
          "iterations"),
    fault("replay_with_unscaled_rewards", "rewards as they came", "kernels/replayed_iterations",
          "reward[row] / F32(divisor)", "reward[row]", "iterations"),
    fault("iterations_with_one_order", "minibatches that are drawn once", "kernels/iterations",
          "orders[0][k % orders[0].shape[0]]", "orders[0][0]", "iterations"),
    fault("iterations_without_norm", "advantages as they came", "kernels/minibatch",
          "    if norm != NONE:\n        every", "    if norm == NONE:\n        every", "iterations"),
    fault("epochs_of_one_order", "every pass over the same minibatches", "optimization/minibatches",
          "torch.cat(shuffled)", "torch.cat(shuffled[:1] * epochs)", "compiled_updates"),
    fault("root_by_processor", "a number of this processor alone", "terminal/portable_torch",
          'library.impl("sqrt", take_root, "CPU", allow_override=True)', "pass", "libraries"),
    fault("settled_too_soon", "a step left out", "exact",
          "torch.equal(before, now)", "torch.allclose(before, now)", "exact_solver"),
    fault("compiling_counts", "seconds of something else", "terminal/training_time",
          "self.paused += time.perf_counter() - self.begun", "pass", "progress"),
    fault("iterations_with_one_rate", "a schedule that stands still", "kernels/iterations",
          "rate_at(rates[0], at)", "rates[0][0]", "iterations"),
    fault("replayed_iterations_without_follower", "a target network that stands still",
          "kernels/replayed_iterations", "slow[k] += F32(rate) * (fast[k] - slow[k])", "slow[k] += ZERO",
          "iterations"),
    fault("replayed_iterations_of_another_state", "the wrong row", "kernels/replayed_iterations",
          "q[choice[i, 0] * rows + i, 0] - value", "q[choice[i, 0] * rows, 0] - value", "iterations"),
    fault("replayed_iterations_lose_chances", "a stream that runs ahead",
          "compiled/iterations/replayed", "self.noise.set_state(states[done])", "pass", "iterations"),
    fault("columns_beyond_their_share", "off-by-one in ended", "rollouts/simulated_player",
          "self.active &= left > 0", "self.active &= left > -1", "simulated_player"),
    fault("halves_without_the_critic", "a step left out", "kernels/iterations",
          "    if part != POLICY:", "    if part in (WHOLE, LEARN):", "side_by_side"),
    fault("halves_drawn_in_turn", "a stream in another order", "compiled/iterations/on_policy",
          "for rows, parts, epochs in self.splits]", "for rows, parts, epochs in self.splits[::-1]][::-1]",
          "side_by_side iterations"),
    fault("iterations_without_baseline", "wrong sign", "kernels/iterations",
          "(psi[t, n] - value[t, n]) * mask[t, n]", "(psi[t, n] + value[t, n]) * mask[t, n]", "iterations"),
    fault("tensor_cart_without_pole", "a force left out", "envs/tensor_motion",
          "push = temp - 0.05 * turn * cos / 1.1", "push = temp", "tensor_programs"),
    fault("tensor_car_through_the_wall", "a case left out", "envs/tensor_motion",
          "speed = torch.where((position == -1.2) & (speed < 0), 0.0, speed)", "speed = speed + 0.0",
          "tensor_programs"),
    fault("tensor_car_in_float64", "rounding left out", "envs/tensor_motion",
          "return torch.where(first, x, round_to_float32(x))", "return x", "tensor_programs"),
    fault("tensor_car_without_effort", "a cost left out", "envs/tensor_motion",
          "torch.where(terminated, 100.0, 0.0) - 0.1 * force.square()",
          "torch.where(terminated, 100.0, 0.0) - 0.0 * force", "tensor_programs"),
    fault("tensor_acrobot_by_euler", "a lower order", "envs/tensor_motion",
          "place + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)", "place + 0.2 * k1", "tensor_programs"),
    fault("tensor_acrobot_without_coriolis", "a term left out", "envs/tensor_motion",
          "- speed2 * speed1 * sin2", "- 0.0 * sin2", "tensor_programs"),
    fault("tensor_angle_not_wrapped", "half a turn too much", "envs/tensor_motion",
          "x - 2 * PI * (above + below)", "x - PI * (above + below)", "tensor_programs"),
    fault("tensor_starts_in_float64", "rounding left out", "envs/tensor_program",
          "round_to_float32(starts) if self.motion.starts_in_float32 else starts", "starts",
          "tensor_programs"),
    fault("tensor_starts_drawn_twice", "a stream that runs ahead", "rollouts/tensor_player",
          "envs.place.new_empty(steps, *envs.place.shape)", "envs.draw_starts(steps)", "tensor_programs"),
    fault("tensor_squashed_unsquashed", "a draw taken for an action", "envs/tensor_program",
          "force(emit_tensor(drawn))", "force(drawn)", "tensor_programs"),
    fault("gsde_price_moves_features", "a constant that is learned", "policies/gsde",
          "features if self.learn_features else features.detach()", "features", "gsde"),
    fault("mask_as_one_hot", "a mask twice as long", "envs/masks",
          "if not plain or own", "if own", "masks"),
    fault("interval_below_zero", "a band along another way", "presentation/plotting",
          "low = cut_low_ends(series.low, y) if log else series.low", "low = series.low", "plotting"),
    fault("stacked_seeds_share_minibatches", "one random stream for all", "training/stacked/learner",
          "generator=g, device=g.device) for g in self.generators",
          "generator=self.generators[0]) for g in self.generators", "stacked_seeds"),
    fault("stacked_clip_over_all_seeds", "one norm for all", "training/stacked/learner",
          "return torch.vmap(super().clip_gradient)(gradient)", "return super().clip_gradient(gradient)",
          "stacked_seeds"),
    fault("stacked_adam_one_count", "another run's count", "training/stacked/gathered",
          "torch.stack([own[name] for own in every], out=x)",
          "torch.stack([(every[0] if name == 'step' else own)[name] for own in every], out=x)",
          "stacked_seeds"),
    fault("stacked_columns_of_another_seed", "the wrong columns", "training/stacked/stack",
          'view(len(self.numbers["theta"]), -1, self.envs.obs_size)',
          'view(-1, len(self.numbers["theta"]), self.envs.obs_size).transpose(0, 1)',
          "stacked_seeds"),
    fault("stacked_optimizer_forgotten", "moments that stand still", "training/stacked/stack",
          "optimizer.gathered.scatter()", "pass", "stacked_seeds"),
    fault("compiled_backward", "wrong sign", "kernels/mlp",
          "ONE - value[k] * value[k]", "ONE + value[k] * value[k]", "compiled_kernels"),
    fault("compiled_adam_uncorrected", "Adam without bias correction", "kernels/optimizer_rules",
          "F32(hyper[LR] / (1 - b1**count))", "F32(hyper[LR])", "compiled_kernels"),
    fault("compiled_stale_log_prob", "stale log-probabilities", "kernels/row_programs",
          "target[i] = log_prob[start + i]", "target[i] = table[2, index[start + i]]", "compiled_tracing"),
    fault("compiled_row_twice", "a minibatch row twice", "optimization/minibatches",
          "torch.cat(shuffled).numpy()", "torch.cat(shuffled).numpy() // 2", "compiled_updates"),
    fault("compiled_divisor", "a divisor that does not shrink with the minibatch", "kernels/minibatch",
          "share = count * index.shape[0] / table.shape[1]", "share = count", "compiled_updates"),
    fault("compiled_relu_hides_nan", "a NaN passed over", "kernels/mlp",
          "ZERO if flat[k] < ZERO else flat[k]", "flat[k] if flat[k] > ZERO else ZERO", "compiled_kernels"),
    fault("compiled_number_frozen", "a number of the algorithm taken for a constant", "compiled/tracing",
          "into[k] = getattr(algorithm, name)",
          "into[k] = self.__dict__.setdefault(name, getattr(algorithm, name))",
          "compiled_tracing"),
]  # fmt: skip

GUARD = """
from pathlib import Path
import pytest, pgrun, tests.helpers.support_pipeline

def pytest_sessionstart(session):
    for module in (pgrun, tests.helpers.support_pipeline):
        if not Path(module.__file__).is_relative_to(Path(__file__).resolve().parent):
            pytest.exit(f"{module.__name__} is imported from {module.__file__}", returncode=7)
"""  # the copy, and not the installed package, must be what is tested


@dataclass(frozen=True)
class Outcome:
    """Of the tests on one copy.

    ``test``: the first that failed; ``reason``: its last line, or why there is no verdict.
    """

    code: int
    test: str
    reason: str
    seconds: float

    @property
    def caught(self) -> bool:
        """By a test that failed on what the code computed: a crash would be no deliberate fault."""
        return self.code == 1 and self.test != "" and not self.reason.startswith(CRASHES)


def copied(folder: Path) -> Path:
    """The package and its tests in ``folder``.

    What Python and numba have compiled comes with them: Python's is good for a file of the same time alone,
    numba's for the same sources of all kernels, so that a fault is compiled, and in a kernel everything.
    """
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*-pytest-*"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "mutation_guard.py").write_text(GUARD)
    return folder.resolve()


def import_dependencies() -> None:
    """In the process that all rows are forked from: half of what a row would take."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()


def run_tests(folder: Path, tests: Sequence[str]) -> Outcome:
    """pytest on the copy, up to the first failure."""
    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "mutation_guard", "-n", "0", "--tb=short", "-rfE"]
    limit = LIMIT * len(tests)
    files = [f"tests/{test}" for test in tests]
    end = forked(lambda: run_pytest(folder, [*words, *files], limit), WAITING * limit)
    if end.code in (-signal.SIGKILL, -signal.SIGXCPU):
        return Outcome(-1, "", f"still running after {limit} s", end.seconds)
    failed = re.search(r"^FAILED (\S+::.*?)(?: - (.*))?$", end.out, re.M)
    test, reason = failed.groups(default="") if failed else ("", end.out[-600:].strip())
    return Outcome(end.code, test.removeprefix("tests/"), reason, end.seconds)


def run_pytest(folder: Path, words: list[str], limit: int) -> int:
    """In a process of its own: nothing that was imported from here stays."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pgrun", "tests")]:
        del sys.modules[name]
    os.chdir(folder)
    os.environ.update(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    return int(pytest.main(words))


def checked(one: Fault) -> Outcome:
    """The tests of one fault, with the fault."""
    with tempfile.TemporaryDirectory(prefix="mutation_") as name:
        folder = copied(Path(name))
        file = folder / one.file
        file.write_text(one.applied(file.read_text()))
        return run_tests(folder, one.tests)


def baseline(faults: Sequence[Fault]) -> Outcome:
    """The same tests without any fault."""
    with tempfile.TemporaryDirectory(prefix="mutation_") as name:
        return run_tests(copied(Path(name)), sorted({test for one in faults for test in one.tests}))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the faults and stop")
    parser.add_argument("--jobs", type=int, default=1, help="faults checked at a time")
    given = parser.parse_args(argv)
    if unknown := set(given.names) - {one.name for one in FAULTS}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; --list shows them")
    faults = [one for one in FAULTS if not given.names or one.name in given.names]
    if given.list:
        print(*(f"{one.name:26} {one.kind:42} {one.file}" for one in faults), sep="\n")
        return 0
    for one in faults:
        one.applied((ROOT / one.file).read_text())
    import_dependencies()
    clean = baseline(faults)
    if clean.code != 0:
        print(f"the tests fail without any fault: {clean.test} {clean.reason}")
        return 1
    print(f"no fault: all tests pass ({clean.seconds:.0f} s)\n")
    return report(faults, given.jobs)


def report(faults: Sequence[Fault], jobs: int) -> int:
    """The table, row by row; the exit code."""
    show = partial("{:26} {:42} {:>4}  {}".format)
    print(show("fault", "kind", "s", "caught by"))
    survived = 0
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=fork) as pool:  # each waits for a process of its own
        for one, outcome in zip(faults, pool.map(checked, faults), strict=True):
            survived += not outcome.caught
            verdict = outcome.test if outcome.caught else f"NOT CAUGHT: {outcome.test} {outcome.reason}"
            print(show(one.name, one.kind, f"{outcome.seconds:.0f}", verdict), flush=True)
    print(f"\n{len(faults) - survived} of {len(faults)} caught")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
