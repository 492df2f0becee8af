"""From environments to rollouts: what was seen and done, and the samplers that collect it."""
