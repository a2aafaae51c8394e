"""Stage 5: supervised fine-tuning on demonstrations (InstructGPT, step 1, appendix C.1)."""
