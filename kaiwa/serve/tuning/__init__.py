"""Fine-tuning jobs and builds as child processes."""
