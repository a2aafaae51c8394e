"""Stage 9: evaluation of every model on prompts that no model was trained on, with intervals."""
