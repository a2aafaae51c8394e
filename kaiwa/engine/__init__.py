"""Inference: requests, scheduler, cache, sampling; one engine for rollouts, evaluation, lab, red team and serving."""
