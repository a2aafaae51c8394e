"""What the machine can do is found by trying."""

import pytest

from kaiwa.core import machine


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_compiler_that_does_not_compile_is_none(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert not machine.has_compiler.__wrapped__()
    monkeypatch.setenv("CXX", "true")  # takes everything
    assert machine.has_compiler.__wrapped__()
