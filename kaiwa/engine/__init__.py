"""One engine for rollouts, evaluation, lab, red team and serving: requests, scheduler, cache, sampling."""
