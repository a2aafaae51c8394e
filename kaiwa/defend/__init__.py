"""Defences around a ChatModel: what they do to a request, and what they let out of a reply."""
