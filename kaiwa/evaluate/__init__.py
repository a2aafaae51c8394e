"""Stage 9: what each model does on prompts nobody trained on, with intervals."""
