"""Stage 6: a reward model from rankings (InstructGPT, step 2, section 3.5 and appendix C.2)."""
