"""Options of commands that ask a model: the model, its server, and the rate of requests."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.catalog.open_model import ModelChoice


@dataclass(kw_only=True)
class ModelOptions:
    """The model, its server, and the rate of requests."""

    model: str = ""  # a name from `kaiwa models`, a folder or a .gguf file; with --url a name of the server
    url: str = ""  # any OpenAI-compatible server, such as http://127.0.0.1:7860/v1
    api_key_env: str = ""  # the environment variable that holds the server's key (the key is never stored)
    concurrency: int = 8  # simultaneous requests to the server
    per_minute: float = 0.0  # largest number of requests to the server per minute (0: no limit)

    def choice(self, model: str = "", url: str = "", api_key_env: str = "") -> ModelChoice:
        """Return these options as a choice; the arguments, if set, replace the options."""
        return ModelChoice(
            model=model or self.model,
            url=url or self.url,
            api_key_env=api_key_env or self.api_key_env,
            concurrency=self.concurrency,
            per_minute=self.per_minute,
        )
