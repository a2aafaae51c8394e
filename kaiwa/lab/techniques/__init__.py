"""Techniques: small programs with their control arms. One file a paper."""
