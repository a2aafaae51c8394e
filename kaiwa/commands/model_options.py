"""Options of commands that ask a model: which one, where it is, and how fast it is asked."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.catalog.open_model import ModelChoice


@dataclass(kw_only=True)
class ModelOptions:
    """Which model answers, and how fast it is asked."""

    model: str = ""  # a name from `kaiwa models`, a folder, a .gguf file; with --url the server's name for it
    url: str = ""  # any OpenAI-compatible server, such as http://127.0.0.1:7860/v1
    api_key_env: str = ""  # the environment variable that holds the server's key (it is never written down)
    concurrency: int = 8  # requests to the server at a time
    per_minute: float = 0.0  # requests per minute to the server at most (0: no limit)

    def choice(self, model: str = "", url: str = "", api_key_env: str = "") -> ModelChoice:
        """Return these options as a choice; a model, server or key variable given here goes before the options'."""
        return ModelChoice(
            model=model or self.model,
            url=url or self.url,
            api_key_env=api_key_env or self.api_key_env,
            concurrency=self.concurrency,
            per_minute=self.per_minute,
        )
