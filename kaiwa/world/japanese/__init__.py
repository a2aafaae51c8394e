"""The village in Japanese: words, documents, instructions, prompts."""
