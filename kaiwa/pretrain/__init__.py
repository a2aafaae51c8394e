"""Stage 4: pretraining of a GPT on text (Brown et al., 2020, section 2)."""
