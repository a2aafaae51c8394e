"""The engine process's bookkeeping, with stubs for models."""

import socket
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kaiwa.catalog import memory_plan
from kaiwa.serve.openai.call_forms import PLAIN
from kaiwa.serve.worker import model_pool, process
from kaiwa.serve.worker.process import EngineProcess
from kaiwa.serve.worker.resident_model import ResidentAdapter, ResidentModel
from kaiwa.serve.worker.wire import (
    Cancel,
    Failed,
    Generate,
    Load,
    ModelAddress,
    QuestionResult,
    Say,
    TextPrompt,
    Unload,
    Unloaded,
)


class Engine:
    idle, is_pending, is_native, will_switch = True, False, False, False

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add(self, request: Any) -> tuple[str, ...]:
        self.added.append(request.id)
        return ()

    def cancel(self, id: str) -> bool:
        return False


def resident() -> ResidentModel:
    loaded: Any = SimpleNamespace(
        entry=SimpleNamespace(created=200, name="toy", path=Path("toy")),
        tokenizer=SimpleNamespace(chat_template=None),
        memory=lambda: 1,
    )
    return ResidentModel(loaded, Engine())  # type: ignore[arg-type]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """Its models are all of 200 seconds after 1970, whatever a request says."""
    model = resident()
    monkeypatch.setattr(model_pool, "load_model", lambda path, name, say: model)
    monkeypatch.setattr(model_pool, "measure_bandwidth", lambda: 1.0)
    engine_request = lambda loaded, request: (SimpleNamespace(id=request.id, prompt_ids=(1, 2)), PLAIN)  # noqa: E731
    monkeypatch.setattr(process, "make_request", engine_request)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield EngineProcess(ours, 1 << 30)


def address(name: str = "toy", created: int = 200) -> ModelAddress:
    return ModelAddress(name=name, path=Path(name), created=created)


def asked(id: str, created: int) -> Generate:
    return Generate(id=id, model=address(created=created), prompt=TextPrompt("a"))


def test_a_model_built_again_while_it_loads_answers_as_it_is_now(child: EngineProcess) -> None:
    child._handle(asked("1", created=100))  # seen before the folder changed
    child._handle(child.inbox.get(timeout=5))  # loaded
    assert child.pool.models["toy"].engine.added == ["1"]
    assert not child.pool.waiting, "loaded once more for the same request, and so on for ever"
    child._handle(asked("2", created=300))  # changed again, and nobody uses the old one
    assert "toy" not in child.pool.models
    assert [r.id for r in child.pool.waiting["toy"]] == ["2"]


def test_a_request_that_cannot_be_read_is_lost_alone(child: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(loaded: Any, request: Generate) -> None:
        raise RecursionError("a template that calls itself")

    monkeypatch.setattr(process, "make_request", refuse)
    child._handle(asked("1", created=200))
    child._handle(child.inbox.get(timeout=5))
    (reply,) = child.outbox
    assert isinstance(reply, Failed)
    assert (reply.id, reply.status) == ("1", 500)


def test_an_adapter_that_cannot_be_read_is_lost_alone(child: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: ResidentModel, model_address: ModelAddress) -> None:
        raise NotImplementedError("a kind of number that nobody thought of")

    monkeypatch.setattr(ResidentModel, "model_for", fail)
    child._handle(asked("1", created=200))
    child._handle(child.inbox.get(timeout=5))
    child._handle(Load(model=address()))
    (reply,) = child.outbox
    assert isinstance(reply, Failed)
    assert (reply.id, reply.status) == ("1", 500)


def test_an_unloaded_model_is_gone(child: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "load_model", lambda path, name, say: resident())
    turns = iter([asked("1", created=200), None, Unload(id="2", model=address())])
    kept: list[weakref.ref[ResidentModel]] = []

    def take(block: bool) -> None:
        message = next(turns, "end")
        if message == "end":
            assert not child.pool.models
            assert kept[0]() is None, "something still holds the model"
            raise EOFError
        child._handle(message or child.inbox.get(timeout=5))
        kept.extend(weakref.ref(model) for model in child.pool.models.values() if not kept)

    monkeypatch.setattr(child, "_take_messages", take)
    monkeypatch.setattr(child, "_read", lambda: None)
    with pytest.raises(EOFError):
        child.run()


def test_an_adapter_takes_its_room_from_idle_models(child: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def see(model: ResidentModel, model_address: ModelAddress) -> Any:
        model.adapters["tuned"] = ResidentAdapter(model.loaded, 100)
        return model.loaded

    monkeypatch.setattr(ResidentModel, "model_for", see)
    child.pool.memory = 101
    child.pool.models |= {"other": resident(), "toy": resident()}
    child._handle(asked("1", created=200))
    assert list(child.pool.models) == ["toy"]
    assert child.pool.models["toy"].engine.added == ["1"]


def test_idle_models_leave_the_card_before_the_next_one_is_planned(
    child: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longest unused first, no more than needed; those that are answering stay."""
    alive: list[weakref.ref[ResidentModel]] = []
    child.pool.models |= {name: resident() for name in ("busy", "old", "new")}
    child.pool.models["busy"].engine.idle = False  # type: ignore[misc]
    alive += [weakref.ref(model) for model in child.pool.models.values()]
    monkeypatch.setattr(model_pool, "read_entry", lambda path, name: SimpleNamespace(writes=True))
    monkeypatch.setattr(memory_plan, "has_room", lambda entry: alive[1]() is None)
    child.pool.start_loading(address())
    assert list(child.pool.models) == ["busy", "new"]
    child._handle(Unload(id="1", model=address("new")))
    assert alive[2]() is None
    assert child.outbox[-1] == QuestionResult(id="1", value=Unloaded(bytes=1))


def test_lines_of_loading_threads_are_told(child: EngineProcess) -> None:
    child.pool.report("slower")
    child._handle(child.inbox.get(timeout=5))
    assert child.outbox == [Say(line="slower")]


def test_what_must_be_the_same_again_waits_for_the_step(child: EngineProcess) -> None:
    """Answers of the first seconds are computed by PyTorch, later ones by the C++ step, which rounds otherwise."""
    model = resident()
    child.pool.models["toy"] = model
    engine: Any = model.engine
    seeded = replace(asked("seeded", created=200), repeatable=True)
    engine.is_pending = engine.will_switch = True
    child._handle(seeded)
    child._handle(asked("any", created=200))
    assert (engine.added, model.held) == (["any"], [seeded])
    assert model.computing == "PyTorch, for now"
    assert child.pool.n_requests() == 2
    engine.is_pending, engine.idle = False, False  # ready; "any" is still being answered by PyTorch
    child._handle(asked("later", created=200))
    assert [request.id for request in model.held] == ["seeded", "later"], "others wait, so that the step takes over"
    assert model.release() == []
    engine.idle = True
    child._handle(Cancel(id="later"))
    for request in model.release():
        child._admit(model, request)
    assert engine.added == ["any", "seeded"]
    engine.is_native, engine.will_switch = True, False
    child._handle(replace(seeded, id="again"))
    assert engine.added[-1] == "again"
    assert model.computing == "C++ step"


def test_a_model_that_holds_requests_is_not_idle(child: EngineProcess) -> None:
    model = resident()
    child.pool.models["toy"] = model
    model.held.append(asked("1", created=200))
    child._handle(Unload(id="2", model=address()))
    (reply,) = child.outbox
    assert isinstance(reply, Failed)
    assert "toy" in child.pool.models
