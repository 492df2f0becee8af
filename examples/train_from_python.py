"""Train, look at what came out, and act with it in an environment of one's own: python
examples/train_from_python.py.
"""

import gymnasium as gym

import pgrun


def main(steps: int = 20_000) -> None:
    # the words of the command, settings by name, or both: pgrun algo=ppo env=CartPole-v1 seed=3
    # trainer.total_steps=…
    run = pgrun.train("algo=ppo env=CartPole-v1", seed=3, quiet=True, **{"trainer.total_steps": steps})

    print(
        f"return {run.summary['eval']['return_mean']:.0f} after {run.summary['env_steps']} steps, in "
        f"{run.folder}"
    )
    last = run.metrics[-1]  # every row: pandas.DataFrame(run.metrics)
    print(f"last update: KL {last['kl/old_new']:.4f}, entropy {last['policy/entropy']:.3f}")

    env = gym.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    pi = run.policy.distribution(obs)
    print(
        f"at the start: left and right with {pi.probabilities.round(2)}, log π(right) = {pi.log_prob(1):.2f}"
    )
    for sample in (False, True):
        obs, _ = env.reset(seed=0)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(run.policy.act(obs, sample=sample))
            total, over = total + float(reward), terminated or truncated
        print(f"{'sampled' if sample else 'most likely'} actions: return {total:.0f}")

    try:
        pgrun.train("algo=ppo env=CartPole-v2")
    except pgrun.InvalidCommand as error:  # what the command would say, before anything is written
        print(error)


if __name__ == "__main__":
    main()
