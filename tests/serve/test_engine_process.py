"""The engine process's bookkeeping, with stubs for models."""

import socket
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kaiwa.catalog import memory_plan
from kaiwa.serve.worker import process
from kaiwa.serve.worker.process import Child
from kaiwa.serve.worker.resident_model import Resident, Tuned


class Engine:
    idle = True

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add(self, request: Any) -> None:
        self.added.append(request)


def resident() -> Resident:
    loaded: Any = SimpleNamespace(entry=SimpleNamespace(created=200, name="toy"), memory=lambda: 1)
    return Resident(loaded, Engine())  # type: ignore[arg-type]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """Its models are all of 200 seconds after 1970, whatever a request says."""
    model = resident()
    monkeypatch.setattr(process, "_load", lambda path, name, say: model)
    monkeypatch.setattr(process, "measure_bandwidth", lambda: 1.0)
    monkeypatch.setattr(process, "make_request", lambda loaded, message: message["id"])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Child(ours, 1 << 30)


def asked(id: str, created: int) -> dict[str, Any]:
    return {"op": "generate", "id": id, "model": "toy", "path": "toy", "created": created}


def test_a_model_built_again_while_it_loads_answers_as_it_is_now(child: Child) -> None:
    child._handle(asked("1", created=100))  # seen before the folder changed
    child._handle(child.inbox.get(timeout=5))  # loaded
    assert child.models["toy"].engine.added == ["1"]
    assert not child.waiting, "loaded once more for the same request, and so on for ever"
    child._handle(asked("2", created=300))  # changed again, and nobody uses the old one
    assert "toy" not in child.models
    assert [r["id"] for r in child.waiting["toy"]] == ["2"]


def test_a_request_that_cannot_be_read_is_lost_alone(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(loaded: Any, message: dict[str, Any]) -> None:
        raise RecursionError("a template that calls itself")

    monkeypatch.setattr(process, "make_request", refuse)
    child._handle(asked("1", created=200))
    child._handle(child.inbox.get(timeout=5))
    (told,) = child.out
    assert (told["id"], told["kind"], told["status"]) == ("1", "error", 500)


def test_an_adapter_that_cannot_be_read_is_lost_alone(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Resident, message: dict[str, Any]) -> None:
        raise NotImplementedError("a kind of number that nobody thought of")

    monkeypatch.setattr(Resident, "seen_by", fail)
    child._handle(asked("1", created=200))
    child._handle(child.inbox.get(timeout=5))
    child._handle({"op": "load", "model": "toy", "path": "toy", "created": 200})
    (told,) = child.out
    assert (told["id"], told["kind"], told["status"]) == ("1", "error", 500)


def test_an_unloaded_model_is_gone(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_load", lambda path, name, say: resident())
    turns = iter([asked("1", created=200), None, {**asked("2", created=200), "op": "unload"}])
    kept: list[weakref.ref[Resident]] = []

    def take(block: bool) -> None:
        message = next(turns, "end")
        if message == "end":
            assert not child.models
            assert kept[0]() is None, "something still holds the model"
            raise EOFError
        child._handle(message or child.inbox.get(timeout=5))
        kept.extend(weakref.ref(model) for model in child.models.values() if not kept)

    monkeypatch.setattr(child, "_take_messages", take)
    monkeypatch.setattr(child, "_read", lambda: None)
    with pytest.raises(EOFError):
        child.run()


def test_an_adapter_takes_its_room_from_idle_models(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def see(model: Resident, message: dict[str, Any]) -> Any:
        model.adapters["tuned"] = Tuned(model.loaded, 100)
        return model.loaded

    monkeypatch.setattr(Resident, "seen_by", see)
    child.memory = 101
    child.models |= {"other": resident(), "toy": resident()}
    child._handle(asked("1", created=200))
    assert list(child.models) == ["toy"]
    assert child.models["toy"].engine.added == ["1"]


def test_idle_models_leave_the_card_before_the_next_one_is_planned(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longest unused first, no more than needed; those that are answering stay."""
    alive: list[weakref.ref[Resident]] = []
    child.models |= {name: resident() for name in ("busy", "old", "new")}
    child.models["busy"].engine.idle = False  # type: ignore[misc]
    alive += [weakref.ref(model) for model in child.models.values()]
    monkeypatch.setattr(process, "read_entry", lambda path, name: "entry")
    monkeypatch.setattr(memory_plan, "has_room", lambda entry: alive[1]() is None)
    child._start_loading({"model": "toy", "path": "toy", "created": 200})
    assert list(child.models) == ["busy", "new"]
    child._handle({"op": "unload", "id": "1", "model": "new", "path": "new", "created": 200})
    assert alive[2]() is None
    assert child.out[-1]["value"] == {"bytes": 1}


def test_lines_of_loading_threads_are_told(child: Child) -> None:
    child._say("slower")
    child._handle(child.inbox.get(timeout=5))
    assert child.out == [{"kind": "say", "line": "slower"}]
