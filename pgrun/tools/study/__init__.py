"""``pgrun-study``: freeze a policy, collect trajectories once, score every variance scheme on them."""
