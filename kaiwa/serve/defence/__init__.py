"""Defences in the server: checks of requests and answers."""
