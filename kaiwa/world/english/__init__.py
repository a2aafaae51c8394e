"""The village in English: words, documents, instructions, prompts."""
