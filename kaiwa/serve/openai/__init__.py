"""The OpenAI protocol: requests, tools, responses."""
