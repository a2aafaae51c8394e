"""The engine of rollouts, evaluation, lab, red team and serving: requests, scheduler, cache, sampling."""
