"""The engine against the slow and clear way: a full forward pass for every token."""

import itertools

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine, whole_characters
from kaiwa.engine.request import Event, Request
from kaiwa.engine.sampling import SamplingRules, row_seeds, sample
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.text.sampling import Sampling

pytestmark = pytest.mark.masked

torch.set_num_threads(1)


class Bytes:
    """A token is a byte."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: list[int]) -> bytes:
        return bytes(ids)


def model(dialect: str = "llama", length: int = 96) -> Decoder:
    config = DecoderConfig(
        dialect=dialect,  # type: ignore[arg-type]
        vocab_size=256,
        d_model=32,
        n_layer=2,
        n_head=4,
        n_kv_head=2 if dialect == "llama" else 0,
        d_ff=64,
        max_length=length,
    )
    decoder = make_decoder(config, 0)
    with torch.no_grad():
        for p in decoder.parameters():
            p.mul_(4.0)  # sharper distributions than at initialisation
    return decoder.eval()


PROMPTS = [[1, 2, 3], [9], [5, 6, 7, 8, 9, 10, 11], [1, 2, 3], [200, 100], [1, 2, 3, 4], [7] * 20, [3, 1]]


@torch.no_grad()
def slowly(decoder: Decoder, prompt: list[int], n: int, temperature: float, seed: int, stop: set[int]) -> list[tuple]:
    """One sequence, the whole forward pass each time."""
    ids, found = list(prompt), []
    for i in range(n):
        hidden = decoder(torch.tensor([ids]), torch.arange(len(ids))[None], attend_rows(None))
        rules = SamplingRules.make([temperature], [0], [1.0], torch.tensor([seed]))
        id, logprob = sample(decoder.logits(hidden[:, -1]).clone(), rules, torch.tensor([i]))
        ids.append(int(id))
        found.append((int(id), float(logprob)))
        if int(id) in stop or len(ids) >= decoder.config.max_length + 1:
            break
    return found


@pytest.mark.parametrize("dialect", ["llama", "gpt3"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("rows", [2, 5, 256])
def test_bulk_equals_the_full_forward_pass(dialect: str, temperature: float, rows: int) -> None:
    decoder, stop = model(dialect), set(range(0, 256, 9))
    got = Engine(decoder, Bytes()).generate(
        PROMPTS, Sampling(max_tokens=24, temperature=temperature, seed=7), stop_ids=sorted(stop), rows=rows
    )
    seeds = row_seeds(7, len(PROMPTS)).tolist()
    for prompt, seed, completion in zip(PROMPTS, seeds, got, strict=True):
        expected = slowly(decoder, prompt, 24, temperature, seed, stop)
        assert completion.ids == tuple(id for id, _ in expected)
        assert completion.logprobs == pytest.approx([logprob for _, logprob in expected], abs=1e-4)
        assert completion.finish_reason == ("stop" if completion.ids[-1] in stop else "length")
    assert len({len(c.ids) for c in got}) > 1 or temperature == 0  # rows ended at different times


def test_score_equals_generate() -> None:
    engine = Engine(model(), Bytes())
    got = engine.generate(PROMPTS, Sampling(max_tokens=9, seed=3))
    scored = engine.score(PROMPTS, [c.ids for c in got])
    for completion, logprobs in zip(got, scored, strict=True):
        assert logprobs == pytest.approx(completion.logprobs, abs=1e-4)


def test_the_context_ends_an_answer() -> None:
    engine = Engine(model(length=16), Bytes())
    (got,) = engine.generate([[1, 2, 3, 4]], Sampling(max_tokens=99, seed=0))
    assert (len(got.ids), got.finish_reason) == (13, "length")  # 12 more positions, and the token after the last
    with pytest.raises(UserError, match="1 to 15"):
        engine.generate([[1] * 16], Sampling(max_tokens=1))


def test_new_weights_are_taken_over() -> None:
    decoder = model()
    engine = Engine(decoder, dtype=torch.bfloat16)
    before = engine.generate([[1, 2, 3]], Sampling(max_tokens=8, temperature=0))
    with torch.no_grad():
        decoder.embed.weight.copy_(torch.randn(decoder.embed.weight.shape))
    after = engine.generate([[1, 2, 3]], Sampling(max_tokens=8, temperature=0))
    assert before[0].ids != after[0].ids
    assert engine.decoder.embed.weight.dtype == torch.bfloat16
    assert engine.decoder.unembed.weight.data_ptr() == engine.decoder.embed.weight.data_ptr()


def drive(engine: Engine, requests: list[Request], every: int = 0) -> dict[str, list[Event]]:
    """Adds a request every so many steps (0: all at once) until everything is answered."""
    found: dict[str, list[Event]] = {r.id: [] for r in requests}
    todo = list(requests)
    for step in itertools.count():
        while todo and (every == 0 or step % every == 0):
            engine.add(todo.pop(0))
            if every:
                break
        for event in engine.step():
            found[event.id].append(event)
        if engine.idle and not todo:
            return found
        assert step < 5000
    raise AssertionError


def ids(events: list[Event]) -> list[int]:
    return [token.id for event in events for token in event.tokens]


@pytest.mark.parametrize("every", [0, 3])
@pytest.mark.parametrize("max_rows", [1, 3, 16])
def test_batch_neighbours_change_nothing(every: int, max_rows: int) -> None:
    decoder = model()
    requests = [
        Request(
            id=str(i),
            prompt_ids=tuple(p),
            sampling=Sampling(
                max_tokens=5 + 3 * i,
                temperature=[0.0, 0.8, 1.0][i % 3],
                top_k=[0, 0, 20][i % 3],
                top_p=[1.0, 0.9, 1.0][i % 3],
                seed=i,
            ),
            logprobs=i % 3,
        )
        for i, p in enumerate(PROMPTS)
    ]
    together = drive(Engine(decoder, Bytes(), max_rows=max_rows), requests, every)
    for request in requests:
        alone = drive(Engine(decoder, Bytes()), [request])[request.id]
        assert ids(together[request.id]) == ids(alone)
        for a, b in zip(together[request.id], alone, strict=True):
            assert a.tokens[0].logprob == pytest.approx(b.tokens[0].logprob, abs=1e-4)
            assert len(a.tokens[0].top) == request.logprobs


def test_long_prompts_in_chunks_equal_bulk() -> None:
    decoder = model(length=600)
    prompt = [i * 7 % 256 for i in range(530)]
    (expected,) = Engine(decoder).generate([prompt], Sampling(max_tokens=20, temperature=0))
    events = drive(
        Engine(decoder), [Request(id="a", prompt_ids=tuple(prompt), sampling=Sampling(max_tokens=20, temperature=0))]
    )["a"]
    assert tuple(ids(events)) == expected.ids


def test_cancel_frees_the_row() -> None:
    engine = Engine(model(), Bytes(), max_rows=2)
    for i in range(4):
        engine.add(Request(id=str(i), prompt_ids=(1, 2), sampling=Sampling(max_tokens=50, seed=i)))
    for _ in range(5):
        engine.step()
    assert engine.cancel("0")
    assert engine.cancel("3")
    assert not engine.cancel("0")
    seen = {event.id for _ in range(120) for event in engine.step()}
    assert seen == {"1", "2"}
    assert engine.idle


def test_prompt_logprobs_equal_score() -> None:
    engine = Engine(model(), Bytes())
    prompt = PROMPTS[2]
    request = Request(
        id="a", prompt_ids=tuple(prompt), sampling=Sampling(max_tokens=0), logprobs=1, prompt_logprobs=True
    )
    (event,) = drive(engine, [request])["a"]
    (expected,) = engine.score([prompt[:1]], [prompt[1:]])
    assert event.prompt[0].logprob is None
    assert [t.logprob for t in event.prompt[1:]] == pytest.approx(expected, abs=1e-4)


def text(answer: str, stop: tuple[str, ...] = (), data: bytes | None = None) -> tuple[str, bool]:
    from kaiwa.engine.text_stream import TextStream

    out = TextStream(Bytes(), stop)
    pieces = []
    for byte in data if data is not None else answer.encode():
        pieces.append(out.push(byte))
        if out.stopped:
            break
    return "".join(pieces) + out.finish(), out.stopped


def test_stop_strings_across_token_borders() -> None:
    assert text("one two\n\nUser: three", ("\n\nUser:",)) == ("one two", True)
    assert text("one two\n\nUse", ("\n\nUser:",)) == ("one two\n\nUse", False)
    assert text("aab", ("ab",)) == ("a", True)
    assert text("会話です", ("話",)) == ("会", True)


def test_half_characters_are_dropped() -> None:
    data = "会話".encode()
    assert text("", data=data[:-1]) == ("会", False)
    assert [whole_characters(data[:n]) for n in range(7)] == ["", "", "", "会", "会", "会", "会話"]
    assert whole_characters(b"abc") == "abc"
    assert whole_characters("😀".encode()[:3]) == ""


def test_an_id_that_comes_again_brings_its_own_sampling() -> None:
    decoder = model()
    engine = Engine(decoder)
    for seed, temperature in ((1, 1.0), (2, 1.0), (2, 0.0)):
        asked = Request(
            id="a", prompt_ids=(1, 2, 3), sampling=Sampling(max_tokens=6, seed=seed, temperature=temperature)
        )
        assert ids(drive(engine, [asked])["a"]) == ids(drive(Engine(decoder), [asked])["a"])


def test_special_tokens_have_a_text_only_where_one_is_named() -> None:
    from kaiwa.engine.text_stream import TextStream

    class Letters:
        def decode_bytes(self, ids: list[int]) -> bytes:
            return b"".join(b"" if id == 9 else bytes([id]) for id in ids)

    for specials, text in (({}, "ab"), ({9: "<think>"}, "a<think>b")):
        out = TextStream(Letters(), (), specials)  # type: ignore[arg-type]
        assert "".join(map(out.push, (97, 9, 98))) == text
