"""The record of sampling: its checks name their fields, JSON gives it back, and clients send what was set."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.client import sampling_fields
from kaiwa.text.sampling import Grammar, Sampling

WHOLE = Sampling(
    max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("\n",), top_k=5, min_p=0.1, repetition_penalty=1.2,
    presence_penalty=0.5, frequency_penalty=-0.5, logit_bias=((7, 2.0),), grammar=Grammar(kind="regex", source="a+"),
)  # fmt: skip
WRONG = {
    "max_tokens": -1, "temperature": -0.1, "top_p": 0.0, "top_k": -1, "min_p": 1.5, "repetition_penalty": 0.0,
    "presence_penalty": 3.0, "frequency_penalty": -2.5, "logit_bias": ((1, 101.0),), "stop": ("",),
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_an_error_names_its_field(field: str) -> None:
    with pytest.raises(UserError) as error:
        Sampling(**{field: WRONG[field]})  # type: ignore[arg-type]
    assert error.value.field == field


def test_json_gives_it_back() -> None:
    assert Sampling.from_json(WHOLE.to_json() | {"messages": []}) == WHOLE
    assert Sampling.from_json(Sampling().to_json()) == Sampling()
    assert set(Sampling().to_json()) == {"max_tokens", "temperature", "top_p", "seed", "stop"}


def test_clients_send_what_was_set_and_no_more() -> None:
    assert sampling_fields(Sampling(max_tokens=9)) == {"max_tokens": 9, "temperature": 1.0, "top_p": 1.0, "seed": 0}
    sent = sampling_fields(WHOLE)
    assert sent["logit_bias"] == {"7": 2.0}
    assert sent["response_format"] == {"type": "grammar", "syntax": "regex", "definition": "a+"}
    assert (sent["top_k"], sent["min_p"], sent["repetition_penalty"]) == (5, 0.1, 1.2)
    schema = sampling_fields(Sampling(grammar=Grammar(kind="json_schema", source='{"type": "object"}')))
    assert schema["response_format"]["json_schema"]["schema"] == {"type": "object"}
