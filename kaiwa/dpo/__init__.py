"""Direct preference optimisation: training of a policy on comparisons, without a reward model and without rollouts."""
