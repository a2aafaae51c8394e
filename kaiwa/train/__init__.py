"""Parts of a training loop: optimizer, schedules, packed resumable rows, checkpoints. Each stage has its own loop."""
