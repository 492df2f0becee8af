"""Collecting rollouts: T steps of N environments, whole episodes, or draws from a
replay buffer. One file a sampler.

Acting needs the actor alone; distribution parameters and log-probabilities come from one forward over the
whole rollout afterwards, which is exact: neither θ nor the normaliser has moved. Noise is drawn for many
steps at once.
"""
