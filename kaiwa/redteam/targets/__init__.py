"""Targets: the applications under attack, their secrets, and benign requests."""
