"""Direct preference optimisation: from comparisons to a policy without a reward model and without rollouts."""
