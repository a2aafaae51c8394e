"""Stage 7: reinforcement learning against the reward model, PPO-ptx (InstructGPT, step 3, equation 2)."""
