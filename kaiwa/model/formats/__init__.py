"""Read and write weights as other programs store them: Hugging Face folders, GGUF, GPTQ, llama2.c."""
