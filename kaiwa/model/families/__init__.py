"""One file per model family: how its config.json, its tensors and its GGUF files are called."""
