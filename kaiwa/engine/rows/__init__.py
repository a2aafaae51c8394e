"""Rows of a batch: keys and values, shared prefixes, and the forward pass in torch and in C++."""
