"""Grammars: which tokens may come next. Only this file uses llguidance (Microsoft), the parser.

A grammar is compiled when its request is queued. Before every token the grammar gives a mask over the vocabulary, and
whether the answer may end. llguidance does not know the stop tokens: its vocabulary has an additional artificial token
for all of them. Special tokens have no bytes and are never allowed.

A schema that is not strict is enforced as far as llguidance can; `GrammarState.unenforced` names the rest.
"""

from __future__ import annotations

import json
import re
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.json_schema import Schema, closed, loosened, with_name_patterns
from kaiwa.engine.request import TextTokenizer
from kaiwa.text.sampling import Grammar

# Between two parts of JSON a small model may otherwise write white space for ever.
JSON: Any = {"whitespace_pattern": r" {1,2}|\n{1,2}[ \t]{0,20}"}
LENIENT: Any = JSON | {"lenient": True, "coerce_one_of": True}
SHOWN = 300  # characters of llguidance's complaint
MAX_NUMBER = 32  # characters of a number; the grammar of JSON lets digits go on for ever
NUMBER_END = re.compile(rb"[0-9.eE+-]*$")


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
        self.words = words
        self.spoken = torch.tensor([bool(word) for word in words])  # [V]
        self.number_parts = torch.tensor([word[:1].isdigit() for word in words])  # [V]: tokens that begin with a digit
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
        unenforced: list[str] = []
        try:
            if grammar.kind == "json_object":
                source = matcher.grammar_from_json_schema('{"type": "object"}', JSON)
            elif grammar.kind == "json_schema":
                source, unenforced = self._schema_source(grammar)
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
        unenforced += [name for line in compiled.get_grammar_warnings() for name in _keywords(line)]
        return GrammarState(
            compiled, self, is_json=grammar.kind.startswith("json"), unenforced=tuple(dict.fromkeys(unenforced))
        )

    def _schema_source(self, grammar: Grammar) -> tuple[str, list[str]]:
        """Return llguidance's grammar of a schema, and the keywords left out. ValueError for text that is no schema."""
        matcher = self._module.LLMatcher
        schema = json.loads(grammar.source)
        if not isinstance(schema, dict):
            raise ValueError("a schema is a JSON object")
        schema = with_name_patterns(closed(schema))

        def source(part: Schema, options: Any = LENIENT) -> str:
            return str(matcher.grammar_from_json_schema(json.dumps(part, ensure_ascii=False), options))

        def reads(part: Schema) -> bool:
            try:
                compiled = matcher(self.inner, source(part), log_level=0)
            except ValueError:
                return False
            if not compiled.is_error():
                compiled.compute_logit_bias()  # finds references in a circle
            return not compiled.is_error()

        if grammar.strict:
            return source(schema, JSON), []
        if reads(schema):
            return source(schema), []
        schema, dropped = loosened(schema, reads)
        return source(schema), dropped


class GrammarState:
    """The position of an answer in its grammar. unenforced: keywords of its schema without effect."""

    def __init__(
        self, matcher: Any, vocabulary: GrammarVocabulary, *, is_json: bool = False, unenforced: tuple[str, ...] = ()
    ) -> None:
        self._matcher, self._vocabulary, self.unenforced = matcher, vocabulary, unenforced
        self._number = NumberLength() if is_json else None

    def allowed_tokens(self) -> tuple[Tensor, bool]:
        """Return which tokens may come next [V] bool, and whether the answer may end.

        UserError where neither can be.
        """
        mask = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        if self._matcher.is_error():
            reason = _short(self._matcher.get_error().partition("<state>")[0])
            raise UserError(f"the grammar cannot go on: {reason}", field="grammar")
        tokens, ends = mask[:-1] & self._vocabulary.spoken, bool(mask[-1])  # forced bytes may ask for a token without
        if self._number is not None and self._number.length > MAX_NUMBER:
            shorter = tokens & ~self._vocabulary.number_parts
            tokens = shorter if ends or bool(shorter.any()) else tokens
        if not ends and not bool(tokens.any()):
            raise UserError(
                "the grammar allows no token of this model's vocabulary here; change the grammar", field="grammar"
            )
        return tokens, ends

    def push(self, id: int) -> None:
        """Advance by the answer's newest token (never a stop token)."""
        self._matcher.consume_token(id)
        if self._number is not None:
            self._number.push(self._vocabulary.words[id])

    @property
    def complete(self) -> bool:
        """Whether no further token can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


class NumberLength:
    """How long the number at the end of a JSON text is, in bytes (`length`; 0 inside a string)."""

    def __init__(self) -> None:
        self.length = 0
        self._in_string = self._escaped = False

    def push(self, word: bytes) -> None:
        """Append bytes to the text."""
        if not self._in_string and b'"' not in word:
            end = NUMBER_END.search(word)
            n = len(end[0]) if end is not None else 0
            self.length = self.length + n if n == len(word) else n
            return
        for byte in word:
            if self._escaped:
                self._escaped = False
            elif byte == ord('"'):
                self._in_string = not self._in_string
            elif byte == ord("\\"):
                self._escaped = self._in_string
        self.length = 0


def _keywords(warning: str) -> list[str]:
    """Return the schema's keywords that a warning of llguidance is about."""
    head, _, rest = warning.partition(": ")
    if head == "Unimplemented keys":
        return re.findall(r'"([^"]+)"', rest)  # a repeated warning ends in its count
    if head == "Unknown format":
        return [f"format {rest.partition(' ')[0]}"]
    return ["oneOf"] if warning.startswith("oneOf") else [_short(warning)]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
