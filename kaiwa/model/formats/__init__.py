"""Read and write weights in other programs' formats: Hugging Face folders, GGUF, GPTQ, llama2.c."""
