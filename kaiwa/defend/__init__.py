"""Defences around a ChatModel: how each changes a request, and which part of a reply each lets out."""
