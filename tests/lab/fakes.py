"""Models without weights: rules that answer, and counters of what was asked."""

from collections.abc import Callable

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import prompt_as_text
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

Rule = Callable[[str, float, int], str]


class RuleModel:
    """Answers by a rule of (prompt as text, temperature, seed). `fail`: prompts with this in them break."""

    def __init__(self, rule: Rule, fail: str = "", name: str = "rule") -> None:
        self.rule, self.fail, self.name_ = rule, fail, name
        self.prompts: list[str] = []
        self.raw: list[Conversation | str] = []
        self.scored: list[tuple[str, str]] = []

    @property
    def name(self) -> str:
        return self.name_

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        text = prompt_as_text(prompt)
        self.prompts.append(text)
        self.raw.append(prompt)
        if self.fail and self.fail in text:
            raise ConnectionError("gave up after 5 attempts (500: broken)")
        said = self.rule(text, sampling.temperature, sampling.seed)
        for mark in sampling.stop:
            said = said.split(mark)[0]
        return Completion(text=said, n_prompt=len(text), n_tokens=len(said))

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        text = prompt_as_text(context)
        if self.fail and self.fail in text:
            raise UserError("this server cannot score")
        self.scored.append((text, continuation))
        return [-3.0 / (1 + text.count(continuation.strip()))]
