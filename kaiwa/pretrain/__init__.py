"""Stage 4: a GPT from text (Brown et al., 2020, section 2)."""
