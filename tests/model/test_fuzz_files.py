"""Files of strangers: whatever an index, a header, a config or a template says, the answer is a model or one line."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import INDEX, WEIGHTS, load_decoder, save_model
from kaiwa.text.jinja_template import JinjaTemplate, render_text
from kaiwa.text.records import Message

SHORT = settings(max_examples=120, deadline=None)
numbers = st.one_of(st.integers(-(10**20), 10**20), st.floats(), st.booleans(), st.none())
values: Any = st.recursive(
    st.one_of(numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    config = DecoderConfig(vocab_size=20, d_model=16, n_layer=1, n_head=2, d_ff=16, max_length=8)
    save_model(made, make_decoder(config, 0), {}, torch.float32)
    return made


def loads_or_says_why(folder: Path) -> None:
    """A model, or a UserError of one line; anything else fails the test."""
    why = ""
    try:
        load_decoder(folder)
    except UserError as error:
        why = str(error)
    assert "\n" not in why
    assert len(why) < 2000


@given(st.one_of(values, st.dictionaries(st.just("weight_map"), st.one_of(values, st.dictionaries(st.text(), values)))))
@SHORT
def test_any_index(folder: Path, value: Any) -> None:
    (folder / INDEX).write_text(json.dumps(value))
    try:
        loads_or_says_why(folder)
    finally:
        (folder / INDEX).unlink()


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "x.bin", "gone.safetensors"]
)
def test_an_index_stays_in_its_folder(folder: Path, name: str) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    try:
        with pytest.raises(UserError, match=r"no \.safetensors file of this folder|is not there"):
            load_decoder(folder)
    finally:
        (folder / INDEX).unlink()


@given(st.data())
@SHORT
def test_any_header(folder: Path, data: Any) -> None:
    """The safetensors header with one of its values replaced, its length changed, or the file cut."""
    whole = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])
    name = data.draw(st.sampled_from(sorted(header)))
    field = data.draw(st.sampled_from(("dtype", "shape", "data_offsets", "all")))
    if field == "all":
        header[name] = data.draw(values)
    elif name != "__metadata__":
        header[name][field] = data.draw(st.one_of(values, st.lists(st.integers(-9, 2**63), max_size=4)))
    text = json.dumps(header).encode()
    claimed = data.draw(st.sampled_from((len(text), 0, 2**63, len(text) + 1)))
    end = data.draw(st.integers(0, 40))
    try:
        body = whole[8 + length :]
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", claimed) + text + body[: len(body) - end])
        loads_or_says_why(folder)
    finally:
        (folder / WEIGHTS).write_bytes(whole)


@given(st.data())
@SHORT
def test_any_config(folder: Path, data: Any) -> None:
    whole = (folder / "config.json").read_text()
    config = json.loads(whole)
    config[data.draw(st.sampled_from(sorted(config)))] = data.draw(values)
    config |= data.draw(st.dictionaries(st.sampled_from(("rope_scaling", "rope_parameters", "head_dim")), values))
    try:
        (folder / "config.json").write_text(json.dumps(config))
        loads_or_says_why(folder)
    finally:
        (folder / "config.json").write_text(whole)


PIECES = (
    "{{ messages }}", "{{ messages[0].content }}", "{% for m in messages %}", "{% endfor %}", "{% if", "%}", "{{", "}}",
    "{% macro f(n) %}", "{{ f(9) }}", "{% endmacro %}", "{{ ''.__class__ }}", "{{ messages | attr('pop') }}",
    "{{ range(10**6) }}", "{{ 'a' * 10**6 }}", "{% set x = messages %}", "{{ x.append(1) }}", "{% include 'x' %}",
    "{{ self._TemplateReference__context }}", "{{ cycler.__init__.__globals__ }}", "{{ namespace(a=1).a }}",
    "{{ 2 ** 10 ** 9 }}", "{% for i in range(9999) %}", "{{ 'abc'.format(1) }}", "{{ '{0.__class__}'.format(1) }}",
    "{{ messages | tojson }}", "{% break %}",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=7))
@SHORT
def test_any_template(pieces: list[str]) -> None:
    """Text, or one line, soon; and never the inside of a Python object."""
    began, text, why = time.monotonic(), "", ""
    try:
        text = render_text(JinjaTemplate("".join(pieces)), (Message("user", "hi"),))
    except UserError as error:
        why = str(error)
    assert "<class" not in text
    assert "__builtins__" not in text
    assert "\n" not in why
    assert time.monotonic() - began < 20
