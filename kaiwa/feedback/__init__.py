"""Conversations of people with models, in one SQLite file."""
