"""Tasks: items, prompts, and how an answer is extracted from a reply."""
