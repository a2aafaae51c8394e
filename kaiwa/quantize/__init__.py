"""Stage 8: four bits per weight, round to nearest or by GPTQ."""
