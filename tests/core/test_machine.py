"""What the machine can do is found by trying."""

import pytest
import torch

from kaiwa.cli import main
from kaiwa.commands.console import make_context
from kaiwa.core import machine
from kaiwa.core.errors import UserError


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_compiler_that_does_not_compile_is_none(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert not machine.has_compiler.__wrapped__()
    monkeypatch.setenv("CXX", "true")  # takes everything
    assert machine.has_compiler.__wrapped__()


def test_a_device_is_the_best_there_is_or_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAIWA_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert machine.device() == "cpu"
    for wrong in ("cuda", "mps", "cuda:0", "tpu", "cpu:x"):
        with pytest.raises(UserError, match="there is cpu; change --device or KAIWA_DEVICE"):
            machine.device(wrong)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.device() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert machine.device() == "cuda"
    monkeypatch.setenv("KAIWA_DEVICE", "cuda:1")
    assert machine.device() == "cuda:1"
    assert machine.device("cpu:0") == machine.device("cpu") == "cpu"
    with pytest.raises(UserError, match="'cuda:2' is not here"):
        machine.device("cuda:2")


def test_commands_take_a_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert make_context(device="mps").device == "mps"
    assert "computing on mps" in capsys.readouterr().err
    assert make_context().device == "cpu"
    for words in (["build", "tiny", "--device", "tpu"], ["chat", "--device", "tpu"]):
        with pytest.raises(SystemExit):
            main(words)
    told = capsys.readouterr().err
    assert "device 'tpu' is not here" in told
    assert "no option '--device'" in told
