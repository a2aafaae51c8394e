"""Conversations of people with models, in an SQLite file."""
