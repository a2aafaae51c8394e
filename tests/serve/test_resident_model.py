"""Adapters in memory: read once, again when they changed, the longest unused first to go."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.serve.worker import model_pool, resident_model
from kaiwa.serve.worker.model_pool import LoadOutcome, ModelPool
from kaiwa.serve.worker.questions import answer_question
from kaiwa.serve.worker.resident_model import ResidentModel
from kaiwa.serve.worker.wire import (
    DecodedText,
    DescribeTokenizer,
    Detokenize,
    Load,
    ModelAddress,
    TextPrompt,
    TokenIds,
    Tokenize,
    TokenizerInfo,
    TokenPrompt,
)

BASE = ModelAddress(name="base", path=Path("base"), created=1)


class Engine:
    idle = True

    def __init__(self) -> None:
        self.adapters: list[str] = []
        self.busy: set[str] = set()

    def uses(self, name: str) -> bool:
        return name in self.busy

    def add_adapter(self, name: str, adapter: Any) -> None:
        self.adapters.append(name)

    def remove_adapter(self, name: str) -> None:
        if name in self.busy:
            raise UserError(f"adapter {name!r} is answering requests; let them finish")
        self.adapters.remove(name)


def resident(name: str = "base", size: int = 100) -> ResidentModel:
    loaded: Any = SimpleNamespace(entry=Entry(name=name, path=Path(name), created=1), memory=lambda: size)
    return ResidentModel(loaded, Engine())  # type: ignore[arg-type]


def tuned(name: str, created: int = 1) -> ModelAddress:
    path = Path(name)
    return ModelAddress(name=name, path=path, created=created, adapter=path / "adapter", base=BASE)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the adapters that were read, in order."""
    names: list[str] = []

    def with_adapter(loaded: Any, entry: Entry, folder: Path) -> Any:
        names.append(entry.name)
        assert folder == Path(entry.name) / "adapter"
        return SimpleNamespace(entry=entry, adapter="change", adapter_memory=lambda: 10)

    monkeypatch.setattr("kaiwa.catalog.load.with_adapter", with_adapter)
    return names


def test_an_adapter_is_read_once_and_again_when_it_changed(reads: list[str]) -> None:
    model = resident()
    assert model.model_for(BASE) is model.loaded
    first = model.model_for(tuned("a"))
    assert model.model_for(tuned("a")) is first
    assert (reads, model.bytes, model.memory()) == (["a"], 110, {"base": 100, "a": 10})
    model.engine.busy.add("a")  # type: ignore[attr-defined]
    assert model.model_for(tuned("a", created=2)) is first, "not under a request"
    model.engine.busy.clear()  # type: ignore[attr-defined]
    assert model.model_for(tuned("a", created=2)).entry.created == 2
    assert model.engine.adapters == ["a"]  # type: ignore[attr-defined]


def test_the_longest_unused_adapter_goes(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident_model, "MOST_ADAPTERS", 2)
    model = resident()
    for name in ("a", "b", "a", "c"):
        model.model_for(tuned(name))
    assert list(model.adapters) == ["a", "c"]
    model.engine.busy |= {"a", "c"}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="2 adapters of base are answering"):
        model.model_for(tuned("d"))
    assert list(model.adapters) == ["a", "c"]
    with pytest.raises(UserError, match="let them finish"):
        model.drop("a")
    model.engine.busy.clear()  # type: ignore[attr-defined]
    assert model.drop("a") == 10
    assert model.bytes == 110


# the pool


def pool(memory: int, **models: int) -> ModelPool:
    made = ModelPool(memory, lambda outcome: None)
    made.models |= {name: resident(name, size) for name, size in models.items()}
    return made


def test_idle_models_go_until_the_rest_fits() -> None:
    models = pool(250, a=100, b=100, c=100, d=100)
    models.models["b"].engine.idle = False  # type: ignore[misc]
    models.make_room("a")
    assert list(models.models) == ["a", "b"], "a is protected, b is busy; the rest went, longest unused first"
    models.make_room("a")
    assert list(models.models) == ["a", "b"]


def test_a_model_in_use_becomes_the_newest() -> None:
    models = pool(1000, a=1, b=1)
    address = ModelAddress(name="a", path=Path("a"), created=1)
    assert models.get(address) is models.models["a"]
    assert list(models.models) == ["b", "a"]
    assert models.get(ModelAddress(name="z", path=Path("z"))) is None


def test_a_model_that_was_built_again_is_dropped_once_it_is_idle() -> None:
    models = pool(1000, a=1)
    newer = ModelAddress(name="a", path=Path("a"), created=2)
    models.models["a"].engine.idle = False  # type: ignore[misc]
    assert models.get(newer) is not None
    models.models["a"].engine.idle = True  # type: ignore[misc]
    assert models.get(newer) is None
    assert not models.models


def test_requests_wait_for_one_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[LoadOutcome | str] = []
    monkeypatch.setattr(model_pool, "load_model", lambda path, name, say: say("slower") or resident(name, 7))
    monkeypatch.setattr(model_pool, "measure_bandwidth", lambda: 5.0)
    models = ModelPool(1000, outcomes.append)
    first, second = Load(model=BASE), Load(model=BASE)
    for request in (first, second):
        models.wait_for(BASE, request)
    while len(outcomes) < 2:
        pass
    slower, outcome = outcomes
    assert slower == "slower"
    assert isinstance(outcome, LoadOutcome)
    assert (outcome.name, outcome.bandwidth) == ("base", 5.0)
    assert models.n_requests() == 2
    assert models.finish_loading(outcome) == [first, second]
    assert (models.bytes_by_name(), models.bandwidth, models.waiting) == ({"base": 7}, 5.0, {})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(UserError("no model here"), 404, "model_not_found"), (RuntimeError("damaged"), 500, "model_failed")],
)
def test_a_model_that_cannot_be_loaded(
    error: Exception, status: int, code: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path, name: str, say: Any) -> ResidentModel:
        raise error

    monkeypatch.setattr(model_pool, "load_model", fail)
    outcome = ModelPool(1000, lambda line: None)._load(BASE)
    assert (outcome.model, outcome.status, outcome.code) == (None, status, code)
    assert str(error) in outcome.message
    assert ("Traceback" in capfd.readouterr().err) == (status == 500), "only a fault of ours is in the log"


# questions


class Letters:
    """A tokenizer of ASCII characters."""

    vocab_size, eos_token, bos_token, pad_token, eos_id, bos_id = 128, "</s>", "", "", 2, None
    specials = {"</s>": 2}  # noqa: RUF012
    chat_template, document_end_id = "{{ template }}", 0

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def token_text(self, id: int) -> str:
        return chr(id)

    def decode_bytes(self, ids: Any) -> bytes:
        return bytes(ids)


def loaded(chat: bool = True) -> Any:
    return SimpleNamespace(
        tokenizer=Letters(),
        entry=SimpleNamespace(name="toy", chat=chat),
        context=64,
        prefix=(1,),
        decoder=SimpleNamespace(config=SimpleNamespace(vocab_size=250)),
        text_ids=lambda text: [1, *map(ord, text)],
    )


def test_tokens_with_and_without_what_texts_begin_with() -> None:
    for special, expected in ((True, (1, 97)), (False, (97,))):
        found = answer_question(loaded(), Tokenize(model=BASE, prompt=TextPrompt("a"), special=special))
        assert isinstance(found, TokenIds)
        assert (found.tokens, found.max_model_len) == (expected, 64)
    found = answer_question(loaded(), Tokenize(model=BASE, prompt=TokenPrompt((97, 98))))
    assert isinstance(found, TokenIds)
    assert found.token_strs == ("a", "b")


def test_text_of_tokens() -> None:
    assert answer_question(loaded(), Detokenize(model=BASE, tokens=(97, 200))) == DecodedText(text="a�")
    with pytest.raises(UserError, match="token id 999 at 1 is outside 0 to 249"):
        answer_question(loaded(), Detokenize(model=BASE, tokens=(97, 999)))


@pytest.mark.parametrize("chat", [True, False])
def test_what_a_client_needs_to_count_by_itself(chat: bool) -> None:
    info = answer_question(loaded(chat), DescribeTokenizer(model=BASE))
    assert isinstance(info, TokenizerInfo)
    assert (info.model, info.vocab_size, info.eos_token, info.bos_token, info.prefix_ids) == (
        "toy",
        128,
        "</s>",
        None,
        (1,),
    )
    assert info.chat_template == ("{{ template }}" if chat else None)
