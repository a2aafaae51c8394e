"""Grade answers: by rule or by a model."""
