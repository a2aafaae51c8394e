"""A judge without weights."""

from collections.abc import Callable

from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


class Judge:
    """Answers `said`; scores by a rule of (context, continuation)."""

    name = "judge"

    def __init__(self, rule: Callable[[str, str], list[float]] | None = None, said: str = "Fine.") -> None:
        self.rule, self.said = rule or (lambda context, continuation: [-1.0] * len(continuation)), said
        self.asked: list[tuple[Conversation | str, str]] = []
        self.prompts: list[Conversation | str] = []

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        self.prompts.append(prompt)
        return Completion(text=self.said, n_tokens=len(self.said))

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        self.asked.append((context, continuation))
        assert isinstance(context, str)
        return self.rule(context, continuation)
