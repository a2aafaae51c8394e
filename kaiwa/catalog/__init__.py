"""The catalog of local models: their entries, memory plans and loading."""
