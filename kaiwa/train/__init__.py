"""Parts of a training loop: optimizer, schedules, packed resumable rows, checkpoints. The loop is each stage's own."""
