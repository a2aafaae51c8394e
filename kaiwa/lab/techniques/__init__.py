"""Techniques: small programs with their control arms. One file per paper."""
