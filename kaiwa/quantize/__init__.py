"""Stage 8: quantization to four bits per weight, by rounding to nearest or by GPTQ."""
