"""Other protocols than OpenAI's, as translations: a request to a chat request, an answer to their shapes."""
