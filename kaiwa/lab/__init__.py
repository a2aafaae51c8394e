"""The prompt lab: prompts, techniques with their control arms, tasks, graders, experiments. Sees a ChatModel only."""
