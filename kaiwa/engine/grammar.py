"""Grammars: which tokens may come next. Only this file uses llguidance (Microsoft), the parser.

A grammar is compiled when its request is queued. Before every token the grammar gives a mask over the vocabulary, and
whether the answer may end. llguidance does not know the stop tokens: its vocabulary has an additional artificial token
for all of them. Special tokens have no bytes and are never allowed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.request import TextTokenizer
from kaiwa.text.sampling import Grammar

JSON: Any = {"whitespace_pattern": r"[ \n]{1,12}"}  # a small model may otherwise write white space for ever
SHOWN = 300  # characters of llguidance's complaint


class GrammarVocabulary:
    """The tokens' bytes as llguidance needs them; built once per model, which takes a tenth of a second."""

    def __init__(self, tokenizer: TextTokenizer, size: int) -> None:
        try:
            import llguidance
        except ImportError:
            raise UserError(
                "grammars need llguidance; install it with: pip install 'kaiwa[local]'", field="grammar"
            ) from None
        self.size, self._module = size, llguidance
        words = [tokenizer.decode_bytes([i]) for i in range(size)]
        self.spoken = torch.tensor([bool(word) for word in words])  # [V]
        self.eos_token_id, self.bos_token_id = size, None
        self.tokens = [*words, b"\xff<end>"]
        self.special_token_ids = [size]
        self._encode = tokenizer.encode
        self.inner: Any = llguidance.LLTokenizer(llguidance.TokenizerWrapper(self))

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode("utf-8", errors="replace"))

    def follow(self, grammar: Grammar) -> GrammarState:
        """Compile a grammar. Return the state of an answer at its beginning. UserError for an invalid grammar."""
        matcher = self._module.LLMatcher
        try:
            if grammar.kind == "json_object":
                source = matcher.grammar_from_json_schema('{"type": "object"}', JSON)
            elif grammar.kind == "json_schema":
                source = matcher.grammar_from_json_schema(grammar.source, JSON)
            elif grammar.kind == "regex":
                source = matcher.grammar_from_regex(grammar.source)
            else:
                source = matcher.grammar_from_lark(grammar.source)
        except ValueError as error:
            raise UserError(
                f"the {grammar.kind} grammar cannot be read: {_short(str(error))}", field="grammar"
            ) from None
        compiled = matcher(self.inner, source, log_level=0)
        if compiled.is_error():
            raise UserError(
                f"the {grammar.kind} grammar cannot be used: {_short(compiled.get_error())}", field="grammar"
            )
        return GrammarState(compiled, self.spoken)


class GrammarState:
    """The position of an answer in its grammar."""

    def __init__(self, matcher: Any, spoken: Tensor) -> None:
        self._matcher, self._spoken = matcher, spoken

    def allowed_tokens(self) -> tuple[Tensor, bool]:
        """Return which tokens may come next [V] bool, and whether the answer may end.

        UserError where neither can be.
        """
        mask = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        if self._matcher.is_error():
            reason = _short(self._matcher.get_error().partition("<state>")[0])
            raise UserError(f"the grammar cannot go on: {reason}", field="grammar")
        tokens, ends = mask[:-1] & self._spoken, bool(mask[-1])  # forced bytes may ask for a token without any
        if not ends and not bool(tokens.any()):
            raise UserError(
                "the grammar allows no token of this model's vocabulary here; change the grammar", field="grammar"
            )
        return tokens, ends

    def push(self, id: int) -> None:
        """Advance by the answer's newest token (never a stop token)."""
        self._matcher.consume_token(id)

    @property
    def complete(self) -> bool:
        """Whether no further token can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
