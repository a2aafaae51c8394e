"""Stage 8: four bits a weight, round to nearest or by GPTQ."""
