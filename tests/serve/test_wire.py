"""Every record between server and engine process comes back from its line as it was sent."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.catalog.entries import Entry
from kaiwa.serve.openai.choice import TokenAlternative, TokenDetail
from kaiwa.serve.worker import wire
from kaiwa.serve.worker.wire import ChatPrompt, Generate, ModelAddress, TextPrompt, TokenPrompt
from kaiwa.text.sampling import Grammar, Sampling

BASE = ModelAddress(name="laptop/sft", path=Path("/runs/laptop/sft"), created=7)
TUNED = ModelAddress(name="ft:a", path=Path("/models/ft:a"), created=8, adapter=Path("/models/ft:a/adapter"), base=BASE)
SAMPLING = Sampling(
    max_tokens=3,
    temperature=0.5,
    top_p=0.9,
    top_k=4,
    min_p=0.1,
    seed=2**63 + 12,
    stop=("\n", "猫"),
    logit_bias=((5, -100.0), (6, 0.5)),
    repetition_penalty=1.1,
    presence_penalty=-1.0,
    frequency_penalty=2.0,
    grammar=Grammar(kind="regex", source="[a-z]+"),
)
CALL = {"id": "c", "type": "function", "function": {"name": "mail", "arguments": '{"to": "x"}'}}
TURNS = (
    {"role": "user", "content": "a 海 \u2028"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "done", "tool_call_id": "c"},
)
TOOL = {"type": "function", "function": {"name": "mail", "parameters": {"properties": {"to": {"enum": [1, None]}}}}}
COMMANDS = [
    Generate(id="1", model=TUNED, prompt=ChatPrompt(TURNS, (TOOL,)), sampling=SAMPLING, grammar_field="tools"),
    Generate(id="2", model=BASE, prompt=TokenPrompt((1, 2)), fit="fill", detailed=True, logprobs=20, echo=True),
    wire.Embed(id="3", model=BASE, prompts=(TextPrompt(""),)),
    wire.Tokenize(id="4", model=BASE, prompt=TextPrompt("x"), special=False),
    wire.Detokenize(id="5", model=TUNED, tokens=(0, 9)),
    wire.DescribeTokenizer(id="6", model=BASE),
    wire.Unload(id="7", model=TUNED),
    wire.Load(model=BASE),
    wire.Cancel(id="1"),
]
TOKEN = TokenDetail("海", (230, 181, 183), -0.5, (TokenAlternative("x", (120,), -9999.0),))
INFO = wire.TokenizerInfo(
    model="m",
    vocab_size=9,
    model_max_length=8,
    eos_token=None,
    pad_token="<pad>",
    bos_token="",
    eos_token_id=3,
    bos_token_id=None,
    special_tokens={"<pad>": 0},
    prefix_ids=(1,),
    chat_template=None,
)
MESSAGES = [
    wire.Admitted(id="1"),
    wire.Started(id="1", prompt_tokens=4, cached=2, prompt=(TokenDetail("a", (97,), None), TOKEN)),
    wire.Tokens(id="1", text="海", n=1, tokens=(TOKEN,), finish="stop"),
    wire.Failed(id="1", status=400, code="invalid_value", message="no", param="stop"),
    *(
        wire.QuestionResult(id="2", value=value)
        for value in (
            wire.Embeddings(items=(wire.Embedding(vector=(0.25, -1e-30), tokens=2, cut=True),)),
            wire.TokenIds(tokens=(1,), token_strs=("a",), max_model_len=8),
            wire.DecodedText(text="�"),
            INFO,
            wire.Unloaded(bytes=1 << 40),
        )
    ),
    wire.State(models={"m": 5}, loading=("n",), requests=1, tokens_per_second=2.5, bytes_read=1, step_seconds=0.5),
    wire.Say(line="slower"),
]


def test_commands_come_back_whole() -> None:
    line = wire.command_line(COMMANDS)
    assert line.count(b"\n") == 1
    assert wire.read_commands(line) == COMMANDS


def test_messages_come_back_whole() -> None:
    line = wire.message_line(MESSAGES)
    assert line.count(b"\n") == 1
    assert wire.read_messages(line) == MESSAGES
    assert [type(message) for message in wire.read_messages(line)] == [type(message) for message in MESSAGES]


@given(st.text(), st.integers(0, 2**64), st.floats(0, 2), st.lists(st.integers(0, 2**31), min_size=1))
def test_any_text_seed_and_temperature(text: str, seed: int, temperature: float, ids: list[int]) -> None:
    for prompt in (TextPrompt(text), TokenPrompt(tuple(ids)), ChatPrompt(({"role": "user", "content": text},))):
        sampling = Sampling(seed=seed, temperature=temperature, stop=(text,) if text else ())
        command = Generate(id="1", model=BASE, prompt=prompt, sampling=sampling)
        assert wire.read_commands(wire.command_line([command])) == [command]


def test_numbers_of_a_damaged_model_come_back_as_such() -> None:
    """As null they would make the line unreadable, which ends the engine process and everybody's answers with it."""
    token = TokenDetail("a", (97,), math.nan, (TokenAlternative("a", (97,), -math.inf),))
    embedding = wire.Embedding(vector=(math.nan, math.inf), tokens=1)
    messages = [
        wire.Tokens(id="1", text="a", n=1, tokens=(token,)),
        wire.QuestionResult(id="2", value=wire.Embeddings(items=(embedding,))),
    ]
    assert repr(wire.read_messages(wire.message_line(messages))) == repr(messages)


def test_what_is_no_record_is_refused() -> None:
    for line in (b"", b"{}", b'[{"kind": "generate"}]', b'[{"kind": "run", "id": "1"}]'):
        with pytest.raises(ValueError, match=r"."):
            wire.read_commands(line)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        COMMANDS[0].id = "9"  # type: ignore[misc]


def test_an_adapter_without_its_base_is_addressed_as_a_whole_model() -> None:
    base = Entry(name="laptop/sft", path=Path("/runs/laptop/sft"), created=7)
    entry = Entry(name="ft:a", path=Path("/models/ft:a"), created=8, adapter=Path("/models/ft:a/adapter"))
    alone = ModelAddress.of(entry)
    assert (alone.adapter, alone.base, alone.weights) == (None, None, alone)
    with_base = ModelAddress.of(Entry(**{f: getattr(entry, f) for f in entry.__slots__} | {"base": base}))
    assert with_base == TUNED
    assert with_base.weights == BASE


def test_the_last_reply_of_a_request() -> None:
    assert [wire.has_ended(message) for message in MESSAGES[:5]] == [False, False, True, True, True]
    assert not wire.has_ended(wire.Tokens(text="a", n=1))
