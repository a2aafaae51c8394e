"""Stage 6: training of a reward model on rankings (InstructGPT, step 2, section 3.5 and appendix C.2)."""
