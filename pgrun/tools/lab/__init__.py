"""The laboratory: claims about policy gradients as experiments, each with what must come out."""
