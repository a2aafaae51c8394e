"""A user's error keeps its field and code on its way out of another process."""

import pickle

import pytest

from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError


def test_field_and_code_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(UserError("too long", field="messages", code="context_length_exceeded")))
    assert type(error) is UserError
    assert (str(error), error.field, error.code) == ("too long", "messages", "context_length_exceeded")
    plain = pickle.loads(pickle.dumps(UserError("no")))
    assert (str(plain), plain.field, plain.code) == ("no", "", "")


def test_it_is_a_value_error_and_a_stop_is_none() -> None:
    assert isinstance(UserError("x"), ValueError)
    assert not isinstance(Stopped(), ValueError)


def test_the_wish_to_stop_is_asked_for_each_time() -> None:
    wishes = iter([False, False, True])
    ctx = Context(stop=lambda: next(wishes))
    ctx.check_stop()
    ctx.check_stop()
    with pytest.raises(Stopped):
        ctx.check_stop()
