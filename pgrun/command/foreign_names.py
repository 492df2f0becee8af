"""What other tools call the things that have a name here: data, which ``foreign_answers`` reads.

``docs/coming-from.md`` shows the same table, and a test tries every row of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgrun.config.pages import page_address

TOOLS = {  # field of ForeignName → the tool
    "sb3": "Stable-Baselines3",
    "cleanrl": "CleanRL",
    "tianshou": "Tianshou",
    "spinningup": "Spinning Up",
    "cs285": "CS285",
}


@dataclass(frozen=True)
class ForeignName:
    """One thing. The tools' fields hold their names, separated by spaces: ``--x`` and ``-x`` are flags.

    A name without dashes is taken with them too, and the other way round; a short flag's is not.
    """

    here: str  # the words to type, {} is the value given there; "" where there is nothing to type
    example: str = ""  # a value as it is typed there; "" for a switch
    note: str = ""
    off: str = ""  # the words where the value is false
    compute: str = ""  # the function of ``foreign_answers`` that knows the words
    context: str = ""  # words of a command in which the example makes sense
    sb3: str = ""
    cleanrl: str = ""
    tianshou: str = ""
    spinningup: str = ""
    cs285: str = ""

    @property
    def tools(self) -> list[str]:
        return [tool for field, tool in TOOLS.items() if getattr(self, field)]

    def names(self, field: str) -> list[str]:
        names: list[str] = getattr(self, field).split()
        return names


CS285_START = "algo=reinforce variance=none"  # what its homework is, unless a flag says more
SCRIPT_ALGORITHMS = {"hw2": "reinforce", "hw3_actor_critic": "a2c", "pg": "pg", "rtg": "pg"}
Q_LEARNING = "it learns Q and has no policy to take a gradient of"
DETERMINISTIC = "its policy is deterministic, and its gradient that of Q"
RECURRENT = "there are no recurrent policies here"
ABSENT = {  # algorithms there that are not here → why
    **dict.fromkeys(("dqn", "ddqn", "qrdqn", "c51", "rainbow", "fqf", "iqn", "pqn", "her"), Q_LEARNING),
    **dict.fromkeys(("ddpg", "td3", "ars", "cem", "es"), DETERMINISTIC),
    **dict.fromkeys(
        ("sac", "tqc", "redq", "crossq", "discrete_sac"), "it maximises reward and entropy through Q"
    ),
    **dict.fromkeys(("ppo_lstm", "recurrent_ppo", "rppo", "ppo_atari_lstm"), RECURRENT),
    **dict.fromkeys(("ppg", "ppo_rnd", "rnd", "acktr", "acer"), "it is not among the methods here"),
    "bc": f"{page_address('extend.md')} has a file of one's own that does it",
    **dict.fromkeys(("bcq", "cql", "gail", "dagger"), "nothing is learned from given data here"),
}
NEAREST = "pgrun --list shows what there is; algo=off_policy_ac is the one with a replay buffer"
ATARI = (
    r"NoFrameskip|^ALE/|^(Breakout|Pong|SpaceInvaders|Qbert|Seaquest|BeamRider|Enduro|MsPacman|Asteroids)\b"
)
PIXELS = "its observations are large images, and the networks here take small ones (network=cnn)"
TRACKERS = ("wandb", "mlflow", "trackio")

STEPS = "env.num_envs environments take sampler.steps each: their product is a batch"
TWO = "policy and critic have an optimizer each"
JOINT = "it weighs the joint loss of network=shared; two networks, the default, have an optimizer each"
PLAY = "trainer.film_every=25000 films while it trains; after the run: pgrun-play RUN_DIR --video DIR"
FOLDER = "a run writes its TensorBoard file, metrics.csv and policy into this folder"

# A later row wins where two answer with the same setting: the order of the last rows of `variance` counts.
# fmt: off
FOREIGN_NAMES = (
    # what is run, and how long
    ForeignName("algo={}", "ppo", sb3="--algo model", note="pgrun --list shows them"),
    ForeignName(
        "env={}", "CartPole-v1", sb3="--env", cleanrl="--env-id --gym-id", tianshou="--task",
        spinningup="--env --env_name", cs285="--env_name"
    ),
    ForeignName(
        "trainer.total_steps={}", "1e6", sb3="total_timesteps n_timesteps --n-timesteps -n",
        cleanrl="--total-timesteps", note="environment steps"
    ),
    ForeignName(
        "trainer.total_steps={}", "100", compute="iterations", spinningup="--epochs", cs285="--n_iter -n",
        note="iterations × the rows of a batch"
    ),
    ForeignName(
        "trainer.total_steps={}", "10", compute="epochs", tianshou="--epoch",
        note="epoch × step_per_epoch; of the two the product is typed"
    ),
    ForeignName(
        "", "50000", compute="epochs", tianshou="--step-per-epoch",
        note="trainer.total_steps is epoch × step_per_epoch"
    ),
    ForeignName(
        "seed={}", "3", sb3="--seed", cleanrl="--seed", tianshou="--seed", spinningup="--seed",
        cs285="--seed"
    ),
    ForeignName("device={}", "cuda", context="device=cpu", sb3="--device", tianshou="--device"),
    ForeignName(
        "device=cuda", off="device=cpu", context="device=cpu", cleanrl="--cuda",
        note="cpu is the default"
    ),
    ForeignName("device=cpu", cs285="--no_gpu -ngpu", note="the default"),
    ForeignName(
        "", "0", cs285="--which_gpu -gpu_id",
        note="CUDA_VISIBLE_DEVICES=0 before the command chooses among several"
    ),
    ForeignName("threads={}", "2", sb3="--num-threads"),
    ForeignName("trainer.stop_at_return={}", "475", tianshou="--reward-threshold"),
    ForeignName("", cleanrl="--torch-deterministic", note="everything is deterministic here"),
    ForeignName("", sb3="train rl_zoo3", spinningup="spinup", note="pgrun alone trains"),
    # environments
    ForeignName(
        "env.num_envs={}", "4", sb3="n_envs", cleanrl="--num-envs",
        tianshou="--training-num num_train_envs", spinningup="--num_cpu --cpu"
    ),
    ForeignName(
        "", "subproc", sb3="--vec-env",
        note="one process steps all environments; env.vector=async spreads them, where a step takes long"
    ),
    ForeignName("env.max_episode_steps={}", "200", spinningup="--max_ep_len", cs285="--ep_len -ep"),
    ForeignName(
        "env.kwargs={}", "is_slippery:false", compute="kwargs", context="env=FrozenLake-v1",
        sb3="env_kwargs --env-kwargs"
    ),
    ForeignName(
        "env.wrappers={}", "[TimeAwareObservation]", sb3="env_wrapper",
        note="names of gymnasium's, or module:Class of yours"
    ),
    ForeignName("env.wrappers=[{name:FrameStackObservation,stack_size:{}}]", "4", sb3="frame_stack"),
    ForeignName(
        "state_norm=true reward_scaling=true", "true", off="state_norm=false reward_scaling=false",
        sb3="normalize"
    ),
    ForeignName(
        "reward_scaling=true", off="reward_scaling=false", tianshou="--rew-norm",
        note="rewards ÷ a running std"
    ),
    # the batch
    ForeignName("sampler.steps={}", "128", sb3="n_steps", cleanrl="--num-steps", note=STEPS),
    ForeignName(
        "sampler.steps={}", "2048", compute="steps",
        tianshou="--step-per-collect --collection-step-num-env-steps", spinningup="--steps_per_epoch",
        cs285="-b --train_batch_size", note=f"÷ env.num_envs, for {STEPS}"
    ),
    ForeignName("sampler.episodes={}", "16", context="algo=reinforce", tianshou="--episode-per-collect"),
    ForeignName(
        "algo.minibatches={}", "64", compute="minibatches", sb3="batch_size", tianshou="--batch-size",
        cs285="--batch_size", note="rows of a batch ÷ batch_size"
    ),
    ForeignName("algo.minibatches={}", "4", cleanrl="--num-minibatches"),
    ForeignName(
        "algo.epochs={}", "10", sb3="n_epochs", cleanrl="--update-epochs",
        tianshou="--repeat-per-collect --update-step-num-repetitions"
    ),
    ForeignName("algo.epochs={} algo.minibatches=1", "80", spinningup="--train_pi_iters"),
    ForeignName(
        "sampler.capacity={}", "20000", context="algo=off_policy_ac", sb3="buffer_size",
        tianshou="--buffer-size", spinningup="--replay_size"
    ),
    # Ψ
    ForeignName(
        "gamma={}", "0.99", sb3="--gamma", cleanrl="--gamma", tianshou="--gamma", spinningup="--gamma",
        cs285="--discount"
    ),
    ForeignName("algo=reinforce variance=reward_to_go", cs285="--reward_to_go -rtg use_reward_to_go"),
    ForeignName(
        "algo=reinforce variance=value_baseline", cs285="--nn_baseline --use_baseline",
        note="a critic as baseline; without -rtg and this it is variance=none"
    ),
    ForeignName(
        "variance.lam={}", "0.95", compute="gae", sb3="gae_lambda", cleanrl="--gae-lambda",
        tianshou="--gae-lambda", spinningup="--lam", cs285="--gae_lambda", note="of variance=gae"
    ),
    ForeignName(
        "advantage_norm=full", off="advantage_norm=none", sb3="normalize_advantage", cleanrl="--norm-adv",
        tianshou="--norm-adv --advantage-normalization", cs285="--normalize_advantages -na",
        note="of each minibatch too with advantage_scope=minibatch, as there"
    ),
    ForeignName(
        "advantage_norm=none", cs285="--dont_standardize_advantages -dsa --dont_normalize_advantages -dna"
    ),
    ForeignName("", tianshou="--recompute-adv", note="Ψ is computed once an update"),
    # the objective
    ForeignName(
        "algo.clip={}", "0.2", sb3="clip_range", cleanrl="--clip-coef", tianshou="--eps-clip",
        spinningup="--clip_ratio"
    ),
    ForeignName("critic.clip={}", "0.2", sb3="clip_range_vf", note="in units of the value"),
    ForeignName(
        "critic.clip=0.2", off="critic.clip=null", cleanrl="--clip-vloss", tianshou="--value-clip",
        note="the same number as algo.clip there"
    ),
    ForeignName("algo.dual_clip={}", "3", tianshou="--dual-clip"),
    ForeignName("algo.entropy={}", "0.01", sb3="ent_coef", cleanrl="--ent-coef", tianshou="--ent-coef"),
    ForeignName(
        "critic.coef={}", "0.5", compute="coef", context="network=shared", sb3="vf_coef",
        tianshou="--vf-coef", note=JOINT
    ),
    ForeignName(
        "critic.coef={}", "0.5", compute="coef", context="network=shared", cleanrl="--vf-coef", note=JOINT
    ),
    ForeignName(
        "algo.target_kl={}", "0.02", compute="target_kl", sb3="target_kl", spinningup="--target_kl",
        note="exact, of the whole batch, and compared as it is: there 1.5 times the number"
    ),
    ForeignName(
        "algo.target_kl={}", "0.02", compute="target_kl", cleanrl="--target-kl",
        note="exact, of the whole batch: there an estimate from the last minibatch"
    ),
    ForeignName(
        "algo.delta={}", "0.01", context="algo=trpo", tianshou="--max-kl --trust-region-size",
        spinningup="--delta"
    ),
    ForeignName(
        "algo.iterations={}", "10", context="algo=trpo", sb3="cg_max_steps", spinningup="--cg_iters"
    ),
    ForeignName(
        "algo.damping={}", "0.1", context="algo=trpo", sb3="cg_damping", spinningup="--damping_coeff"
    ),
    ForeignName(
        "algo.backtrack={}", "0.8", context="algo=trpo", sb3="line_search_shrinking_factor",
        tianshou="--backtrack-coeff", spinningup="--backtrack_coeff"
    ),
    ForeignName(
        "algo.backtracks={}", "10", context="algo=trpo", sb3="line_search_max_iter",
        tianshou="--max-backtracks", spinningup="--backtrack_iters"
    ),
    # optimizers
    ForeignName(
        "optimizer.lr={} critic.optimizer.lr={}", "3e-4", sb3="learning_rate", cleanrl="--learning-rate",
        tianshou="--lr", note=TWO
    ),
    ForeignName("optimizer.lr={}", "3e-4", spinningup="--pi_lr", cs285="-lr"),
    ForeignName(
        "critic.optimizer.lr={}", "1e-3", compute="critic", spinningup="--vf_lr",
        cs285="-blr --baseline_learning_rate"
    ),
    ForeignName(
        "critic.epochs={} critic.minibatches=1", "5", compute="critic", spinningup="--train_v_iters",
        cs285="-bgs --baseline_gradient_steps"
    ),
    ForeignName(
        "critic.epochs={}", "10", context="algo=trpo", sb3="n_critic_updates", tianshou="--optim-critic-iters"
    ),
    ForeignName(
        "optimizer.schedule=linear critic.optimizer.schedule=linear",
        off="optimizer.schedule=constant critic.optimizer.schedule=constant", sb3="lr_schedule",
        cleanrl="--anneal-lr", tianshou="--lr-decay", note=TWO
    ),
    ForeignName(
        "optimizer.max_grad_norm={} critic.optimizer.max_grad_norm={}", "0.5", sb3="max_grad_norm",
        cleanrl="--max-grad-norm", tianshou="--max-grad-norm", note=TWO
    ),
    ForeignName(
        "optimizer=rmsprop critic/optimizer=rmsprop", "true", off="optimizer=adam critic/optimizer=adam",
        context="algo=a2c", sb3="use_rms_prop"
    ),
    ForeignName("optimizer.eps={} critic.optimizer.eps={}", "1e-5", sb3="rms_prop_eps", note=TWO),
    # networks
    ForeignName(
        "network.hidden={}", "[64,64]", compute="layers", sb3="net_arch", tianshou="--hidden-sizes",
        spinningup="--hid --ac_kwargs:hidden_sizes",
        note="of both networks; network.critic_hidden is the critic's"
    ),
    ForeignName(
        "network.hidden={}", "2", compute="layers", spinningup="--l", cs285="--n_layers -l",
        note="layers × size"
    ),
    ForeignName(
        "network.hidden={}", "64", compute="layers", cs285="--size -s --layer_size", note="layers × size"
    ),
    ForeignName(
        "network.hidden=[64,64]", "dict(net_arch=[64,64])", compute="policy_kwargs", sb3="policy_kwargs",
        spinningup="--ac_kwargs",
        note="also network.critic_hidden, network.activation, network.init, network.log_std"
    ),
    ForeignName(
        "network.activation={}", "tanh", compute="activation", sb3="activation_fn", spinningup="--act"
    ),
    ForeignName("network.log_std={}", "-0.5", context="env=Pendulum-v1", sb3="log_std_init"),
    ForeignName("policy=gsde", off="policy=gaussian", context="env=MountainCarContinuous-v0", sb3="use_sde"),
    ForeignName("policy.sample_freq={}", "4", context="env=Pendulum-v1 policy=gsde", sb3="sde_sample_freq"),
    # evaluation, folders, films
    ForeignName(
        "trainer.eval_every={}", "10000", sb3="eval_freq",
        note="environment steps of all environments together"
    ),
    ForeignName(
        "trainer.eval_episodes={}", "20", sb3="n_eval_episodes eval_episodes",
        tianshou="--test-num num_test_envs"
    ),
    ForeignName(
        "", "400", cs285="-eb --eval_batch_size", note="evaluations count episodes: trainer.eval_episodes"
    ),
    ForeignName(
        "logger.every={}", "10", sb3="log_interval", cs285="--scalar_log_freq", note="updates between rows"
    ),
    ForeignName(
        "logger.progress=true", "1", off="logger.progress=false", sb3="verbose progress_bar --progress -P"
    ),
    ForeignName(
        "trainer.checkpoint_every={}", "100000", sb3="save_freq", spinningup="--save_freq",
        note="environment steps"
    ),
    ForeignName(
        "", cleanrl="--save-model", cs285="--save_params",
        note="every run saves its policy and its checkpoints"
    ),
    ForeignName(
        "hydra.run.dir={}", "outputs/mine",
        sb3="tensorboard_log --log-folder tb_log_name -tb -f", tianshou="--logdir",
        spinningup="--data_dir", note=FOLDER
    ),
    ForeignName(
        "hydra.run.dir=outputs/{}", "mine", cleanrl="--exp-name", spinningup="--exp_name",
        cs285="--exp_name", note=FOLDER
    ),
    ForeignName(
        "logger.also=[wandb]", off="logger.also=[]", sb3="--track", cleanrl="--track",
        note="every run writes TensorBoard files too"
    ),
    ForeignName(
        "logger.also=[{}]", "wandb", compute="logger", tianshou="--logger",
        note="every run writes TensorBoard files too"
    ),
    ForeignName(
        "", "mine", compute="project", sb3="--wandb-project-name", cleanrl="--wandb-project-name",
        tianshou="--wandb-project", note="logger.project=… with logger.also=[wandb]"
    ),
    ForeignName(
        "", "me", sb3="--wandb-entity", cleanrl="--wandb-entity", note="W&B itself reads WANDB_ENTITY"
    ),
    ForeignName("", "true", cleanrl="--capture-video", cs285="--video_log_freq", note=PLAY),
    ForeignName("", "0.0", tianshou="--render --watch", note="after the run: pgrun-play RUN_DIR --render"),
    ForeignName(
        "", "RUN_DIR", sb3="--trained-agent -i", tianshou="--resume-path --resume-id",
        note="resume=RUN_DIR goes on with a run"
    ),
    ForeignName(
        "", "1", sb3="--exp-id --load-best --load-last-checkpoint --load-checkpoint",
        note="pgrun-play RUN_DIR names the run, and --policy best the policy"
    ),
    ForeignName(
        "optimizer.lr=3e-4", "learning_rate:3e-4", sb3="--hyperparams -params",
        note="each name:value behind it is answered as a name by itself"
    ),
    ForeignName("", sb3="--save-replay-buffer", note="a checkpoint has all that a run goes on with"),
    ForeignName(
        "", "1", sb3="--n-eval-envs", note="each episode of an evaluation has an environment of its own"
    ),
    ForeignName("", sb3="--uuid", spinningup="--dt --datestamp", note="every run has a folder of its own"),
    ForeignName(
        "", "org", sb3="--hub -orga", cleanrl="--upload-model --hf-entity", note="nothing is uploaded"
    ),
    ForeignName(
        "", "my.yaml", sb3="--conf-file --yaml-file",
        note="--config FILE takes a run's config.yaml or your own; from=RUN_DIR its settings"
    ),
    ForeignName("seed={}", "3", compute="seeds", cleanrl="--num-seeds", spinningup="--num_runs", cs285="-e"),
    ForeignName(
        "", "clip", tianshou="--bound-action-method",
        note="actions are clipped; policy=squashed is the other way"
    ),
    ForeignName("", "0.5", cs285="--action_noise_std", note="actions have no noise but the policy's own"),
    ForeignName(
        "", "1", cs285="-ntu --num_target_updates -ngsptu --num_grad_steps_per_target_update",
        note="critic.epochs says how often the critic is fitted to its targets"
    ),
    ForeignName("", "1000", sb3="--n-trials", note="hydra.sweeper.n_trials=1000 in a search"),
    ForeignName(
        "", "median", sb3="--pruner --study-name --storage --n-jobs",
        note="hydra.sweeper.pruner, study, storage and n_jobs of a search; it needs a database only where "
        "several commands share it"
    ),
    ForeignName(
        "", sb3="--optimize-hyperparameters -optimize",
        note="a search is a sweep: pgrun -m hydra/sweeper=optuna "
        "'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
    ),
)
# fmt: on

FOREIGN_OPTIONS = {  # group → name there → words here; names are compared in small letters
    "algo": {
        "vpg": "algo=reinforce variance=value_baseline",
        "pg": "algo=reinforce",
        "policy_gradient": "algo=reinforce",
        "ac": "algo=a2c",
        "actor_critic": "algo=a2c",
        "a3c": "algo=a2c",
        "ppo1": "algo=ppo_penalty",
        "ppo2": "algo=ppo",
        "ppo_clip": "algo=ppo",
        "natural_gradient": "algo=npg",
        "offpac": "algo=off_policy_ac",
    },
    "variance": {
        "rtg": "variance=reward_to_go",
        "baseline": "variance=value_baseline",
        "rloo": "variance=leave_one_out",
        "gae_lambda": "variance=gae",
    },
    "network": {"mlp": "network=separate", "mlppolicy": "network=separate"},
    "policy": {"mlppolicy": "policy=gaussian"},
    "optimizer": {"rms_prop": "optimizer=rmsprop"},
    "logger": {name: f"logger.also=[{name}]" for name in TRACKERS},
}

TAGS = (  # (tag here, its name in each tool that writes one, in the order of TOOLS)
    (
        "return/train",
        "rollout/ep_rew_mean",
        "charts/episodic_return",
        "train/returns_stat/mean",
        "EpRet",
        "Train_AverageReturn",
    ),
    ("return/eval", "eval/mean_reward", "", "test/returns_stat/mean", "TestEpRet", "Eval_AverageReturn"),
    (
        "episode/length",
        "rollout/ep_len_mean",
        "charts/episodic_length",
        "train/lens_stat/mean",
        "EpLen",
        "Train_AverageEpLen",
    ),
    ("optimizer/lr", "train/learning_rate", "charts/learning_rate", "", "", ""),
    (
        "policy/loss",
        "train/policy_gradient_loss",
        "losses/policy_loss",
        "update/actor_loss",
        "LossPi",
        "Actor Loss",
    ),
    ("value/loss", "train/value_loss", "losses/value_loss", "update/vf_loss", "LossV", "Baseline Loss"),
    ("value/mean", "", "", "", "VVals", ""),
    ("value/explained_variance", "train/explained_variance", "losses/explained_variance", "", "", ""),
    ("policy/entropy", "train/entropy_loss", "losses/entropy", "update/ent_loss", "Entropy", ""),
    ("kl/old_new", "train/approx_kl", "losses/approx_kl", "", "KL", ""),
    ("ratio/clip_fraction", "train/clip_fraction", "losses/clipfrac", "", "ClipFrac", ""),
    ("policy/std", "train/std", "", "", "", ""),
    ("time/env_steps_per_second", "time/fps", "charts/SPS", "", "", ""),
    ("gradient/variance", "", "", "", "", ""),
)
