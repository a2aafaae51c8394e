"""Stage 7: reinforcement learning from the reward model, PPO-ptx (InstructGPT, step 3, equation 2)."""
