"""The village: an invented world that writes documents, demonstrations and prompts, and simulates labellers."""
