"""The records exchanged by the server and the engine process. Only this file reads and writes their JSON.

Server to engine: Generate, Embed, Tokenize, Detokenize, DescribeTokenizer, Unload (each answered under its id), Load,
Cancel. Engine to server: Admitted, Started, Tokens, QuestionResult, Failed (each about a request), State, Say. A line
holds a JSON list of records, each with its kind.

An answer goes Admitted (the request is valid and queued), Started, Tokens until a Tokens record has a finish reason.
Failed may come at any place and ends the answer. Other questions get a single QuestionResult or Failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from kaiwa.catalog.entries import Entry
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.openai.call_forms import PLAIN, AnswerMarkup
from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.openai.choice import TokenDetail
from kaiwa.text.jinja_template import PromptEnding
from kaiwa.text.sampling import USUAL, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAddress:
    """The place of a model. `created` changes when the model is built again.

    adapter: the folder of a low-rank change or soft prompt applied to `base`; both or neither are set.
    """

    name: str
    path: Path
    created: int = 0
    chat: bool = True
    adapter: Path | None = None
    base: ModelAddress | None = None

    @classmethod
    def of(cls, entry: Entry) -> ModelAddress:
        shares = entry.adapter is not None and entry.base is not None
        return cls(
            name=entry.name,
            path=entry.path,
            created=entry.created,
            chat=entry.chat,
            adapter=entry.adapter if shares else None,
            base=cls.of(entry.base) if shares and entry.base is not None else None,
        )

    @property
    def weights(self) -> ModelAddress:
        """The model whose weights and engine are used: an adapter's base, or the model itself."""
        return self if self.base is None else self.base


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A text to continue. special: the names of special tokens in it are tokens. prefix: begin as the model's texts do.

    suffix: the text after the answer, for models that fill in the middle.
    """

    text: str
    special: bool = False
    prefix: bool = True
    suffix: str | None = None


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages for the model's chat template, the tools the model may call, and more of the template's variables.

    ending: with the header of an answer, within the last message, or after it (text/jinja_template.py). drop_turns: a
    history that is too long loses its oldest whole turns (text/history.py) instead of being refused.
    """

    messages: tuple[ChatTurn, ...]
    tools: tuple[JSONObject, ...] = ()
    variables: JSONObject = field(default_factory=dict)
    ending: PromptEnding = "answer"
    drop_turns: bool = False


ModelPrompt = TextPrompt | TokenPrompt | ChatPrompt
Fit = Literal["exact", "shorten", "fill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """A request for an answer to a prompt. `id` is set by the engine client.

    fit: the rule for max_tokens where the context has less room: "exact" refuses, "shorten" lowers max_tokens; "fill"
    takes all free room whatever max_tokens says. detailed: send tokens with log-probabilities, and `logprobs`
    alternatives of each. echo: send the prompt's tokens too. grammar_field: the client's field with the grammar.
    thinking_budget: tokens of reasoning at most. repeatable: the same request is to be answered the same again, so it
    waits until the way of computing is settled.
    """

    kind: Literal["generate"] = "generate"
    id: str = ""
    model: ModelAddress
    prompt: ModelPrompt
    sampling: Sampling = USUAL
    fit: Fit = "exact"
    detailed: bool = False
    logprobs: int = 0
    echo: bool = False
    grammar_field: str = ""
    thinking_budget: int | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Asks for the vectors of some prompts.

    truncate: whether a longer text is cut at the model's length (None: as the model is used to, which embedding models
    are and others are not). prompt_name, input_type: which of the model's texts stands before each; the second may be
    unknown to the model.
    """

    kind: Literal["embed"] = "embed"
    id: str = ""
    model: ModelAddress
    prompts: tuple[ModelPrompt, ...]
    truncate: bool | None = None
    prompt_name: str | None = None
    input_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenize:
    """Asks for a prompt's token ids. special: with the tokens at the beginning of the model's texts."""

    kind: Literal["tokenize"] = "tokenize"
    id: str = ""
    model: ModelAddress
    prompt: ModelPrompt
    special: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Detokenize:
    kind: Literal["detokenize"] = "detokenize"
    id: str = ""
    model: ModelAddress
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTokenizer:
    kind: Literal["describe_tokenizer"] = "describe_tokenizer"
    id: str = ""
    model: ModelAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload:
    """Asks to drop an idle model or adapter from memory."""

    kind: Literal["unload"] = "unload"
    id: str = ""
    model: ModelAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Asks to load a model ahead of its first request. No reply follows; State shows the model."""

    kind: Literal["load"] = "load"
    model: ModelAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Ends the request `id`, queued or running."""

    kind: Literal["cancel"] = "cancel"
    id: str


Question = Embed | Tokenize | Detokenize | DescribeTokenizer
ModelRequest = Generate | Question | Unload  # these are answered under an id
Command = ModelRequest | Load | Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """`vector`: d_model numbers; `tokens`: how many of the text they stand for. cut: whether it has more."""

    vector: tuple[float, ...]
    tokens: int
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """An embedding for each prompt of an Embed record."""

    kind: Literal["embeddings"] = "embeddings"
    items: tuple[Embedding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """A prompt's token ids, the text of each, and the model's context length."""

    kind: Literal["token_ids"] = "token_ids"
    tokens: tuple[int, ...]
    token_strs: tuple[str, ...]
    max_model_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedText:
    kind: Literal["decoded_text"] = "decoded_text"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerInfo:
    """The facts by which a client can count tokens and fill in the chat template by itself; None for what is absent."""

    kind: Literal["tokenizer_info"] = "tokenizer_info"
    model: str
    vocab_size: int
    model_max_length: int
    eos_token: str | None = None
    pad_token: str | None = None
    bos_token: str | None = None
    eos_token_id: int | None = None
    bos_token_id: int | None = None
    special_tokens: dict[str, int]
    prefix_ids: tuple[int, ...] = ()
    chat_template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """`bytes`: the memory freed, 0 if the model was not loaded."""

    kind: Literal["unloaded"] = "unloaded"
    bytes: int


Value = Embeddings | TokenIds | DecodedText | TokenizerInfo | Unloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The request is good and in the queue. unenforced: keywords of its schema without effect.

    n_turns, n_dropped: turns of the conversation, and how many of the oldest were dropped so that it fits.
    """

    kind: Literal["admitted"] = "admitted"
    id: str = ""
    unenforced: tuple[str, ...] = ()
    n_turns: int = 0
    n_dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The answer begins. cached: number of prompt tokens taken from the cache. prompt: its tokens, if requested.

    markup: how the answer is to be read. fingerprint: of the model and of the way in which it is computed.
    """

    kind: Literal["started"] = "started"
    id: str = ""
    prompt_tokens: int
    cached: int = 0
    prompt: tuple[TokenDetail, ...] = ()
    markup: AnswerMarkup = PLAIN
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """n new tokens and their decoded text so far. finish: "stop", "length", or None while the answer goes on.

    stop: the stop string that ended the answer.
    """

    kind: Literal["tokens"] = "tokens"
    id: str = ""
    text: str
    n: int
    tokens: tuple[TokenDetail, ...] = ()
    finish: str | None = None
    stop: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionResult:
    """The answer to a question other than Generate."""

    kind: Literal["result"] = "result"
    id: str = ""
    value: Annotated[Value, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request has ended with an error, in the fields of OpenAI's errors. param: the request field at fault."""

    kind: Literal["failed"] = "failed"
    id: str = ""
    status: int
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The engine's state: bytes of every model in memory, models being loaded, requests, speed.

    computing: the way in which each model is computed (resident_model.py). bytes_read: weights read so far by steps
    with new tokens; step_seconds: seconds of the same steps. bandwidth: bytes
    per second read from this machine's memory, 0 until the first model has loaded.
    """

    kind: Literal["state"] = "state"
    models: dict[str, int]
    computing: dict[str, str] = field(default_factory=dict)
    loading: tuple[str, ...] = ()
    requests: int = 0
    tokens_per_second: float = 0.0
    bytes_read: int = 0
    step_seconds: float = 0.0
    bandwidth: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A line for the person at the server, for example about a slower path."""

    kind: Literal["say"] = "say"
    line: str


Reply = Admitted | Started | Tokens | QuestionResult | Failed
EngineMessage = Reply | State | Say

# A damaged model computes numbers that are none. As null they would make the whole line unreadable.
_CONFIG = ConfigDict(ser_json_inf_nan="constants")
_COMMANDS = TypeAdapter(list[Annotated[Command, Field(discriminator="kind")]], config=_CONFIG)
_MESSAGES = TypeAdapter(list[Annotated[EngineMessage, Field(discriminator="kind")]], config=_CONFIG)


def has_ended(reply: Reply) -> bool:
    """Return whether a reply is the last reply to its request."""
    return isinstance(reply, Failed | QuestionResult) or (isinstance(reply, Tokens) and reply.finish is not None)


def command_line(commands: Sequence[Command]) -> bytes:
    """Return commands as a single line."""
    return _COMMANDS.dump_json(list(commands)) + b"\n"


def read_commands(line: bytes) -> list[Command]:
    """Read a line of `command_line`. ValueError for anything else."""
    return _COMMANDS.validate_json(line)


def message_line(messages: Sequence[EngineMessage]) -> bytes:
    """Return the engine's messages as a single line."""
    return _MESSAGES.dump_json(list(messages)) + b"\n"


def read_messages(line: bytes) -> list[EngineMessage]:
    """Read a line of `message_line`. ValueError for anything else."""
    return _MESSAGES.validate_json(line)
