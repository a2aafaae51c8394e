"""Parts of a training loop: optimizer, schedules, packed resumable rows, checkpoints. Never the loop."""
