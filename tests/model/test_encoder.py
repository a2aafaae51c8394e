"""Random tiny encoders of every family: our hidden states are transformers'."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kaiwa.core.errors import UserError
from kaiwa.model.encoder import distance_buckets, pool
from kaiwa.model.formats.encoder_folder import ENCODERS, load_encoder, read_encoder_config, read_pooling
from tests.tiny_models import embedding_folder

SHAPE = {
    "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 220,
}  # fmt: skip
DISTILBERT = {
    "vocab_size": 90,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 220,
}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("Bert", "Model", SHAPE),
    "bert, masked words": ("Bert", "ForMaskedLM", SHAPE | {"hidden_act": "gelu_new"}),
    "roberta": ("Roberta", "Model", SHAPE | {"pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "roberta, padding 0": ("Roberta", "Model", SHAPE | {"pad_token_id": 0, "hidden_act": "relu"}),
    "xlm-roberta": ("XLMRoberta", "Model", SHAPE | {"pad_token_id": 1, "type_vocab_size": 1}),
    "xlm-roberta, masked words": ("XLMRoberta", "ForMaskedLM", SHAPE | {"pad_token_id": 1}),
    "camembert": ("Camembert", "Model", SHAPE | {"pad_token_id": 1, "type_vocab_size": 1}),
    "distilbert": ("DistilBert", "Model", DISTILBERT),
    "distilbert, waves": ("DistilBert", "ForMaskedLM", DISTILBERT | {"sinusoidal_pos_embds": True}),
    "mpnet": ("MPNet", "Model", SHAPE | {"pad_token_id": 1}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    name, head, fields = FAMILIES[family]
    torch.manual_seed(1)
    theirs = getattr(transformers, f"{name}{head}")(getattr(transformers, f"{name}Config")(**fields)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)  # else norms and biases are 1 and 0, and could be mistaken for each other
    theirs.save_pretrained(tmp_path)
    ours = load_encoder(tmp_path)
    ids = torch.randint(5, 90, (3, 200))
    mask = torch.arange(200) < torch.tensor([[200], [7], [150]])
    ids = ids.masked_fill(~mask, ours.config.pad_id)
    base = getattr(theirs, theirs.base_model_prefix, theirs)
    with torch.no_grad():
        expected = base(ids, attention_mask=mask.long()).last_hidden_state
        hidden = ours(ids, mask)
    assert (hidden - expected)[mask].abs().max() < 1e-4
    alone = ours(ids[1:2, :7], mask[1:2, :7])[0]
    assert (alone - hidden[1, :7]).abs().max() < 1e-5, "padding changes nothing"


def test_every_architecture_is_compared() -> None:
    assert {name.removesuffix("Model").removesuffix("ForMaskedLM") for name in ENCODERS} == {
        name for name, _, _ in FAMILIES.values()
    }


def test_distances_in_buckets() -> None:
    """T5's buckets of 32: 8 exact ones a side, then by the logarithm up to 128."""
    buckets = distance_buckets(torch.arange(300), 32)
    back = {n: int(buckets[n, 0]) for n in (0, 1, 7, 8, 11, 12, 64, 127, 128, 299)}
    assert back == {0: 0, 1: 1, 7: 7, 8: 8, 11: 8, 12: 9, 64: 14, 127: 15, 128: 15, 299: 15}
    assert int(buckets[0, 1]) == 17, "keys after the query have the other half"


def test_pooling() -> None:
    hidden = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    expected = {"cls": [1.0, 4.0], "last": [3.0, 2.0], "max": [3.0, 4.0], "mean": [2.0, 3.0]}
    assert {mode: pool(hidden, mask, mode)[0].tolist() for mode in expected} == expected  # type: ignore[arg-type]


def test_norms_of_older_files(tmp_path: Path) -> None:
    folder = embedding_folder(tmp_path / "old")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    expected = load_encoder(folder).state_dict()
    renamed = {
        f"bert.{k.replace('Norm.weight', 'Norm.gamma').replace('Norm.bias', 'Norm.beta')}": v
        for k, v in tensors.items()
    }
    save_file(renamed, file)
    for name, tensor in load_encoder(folder).state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_how_a_folder_is_pooled(tmp_path: Path) -> None:
    """max_seq_length over the tokenizer's own limit; no modules.json: the mean, to length 1."""
    folder = embedding_folder(
        tmp_path / "a",
        tokenizer_config={"model_max_length": 30},
        config_sentence_transformers={"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"},
    )
    config = read_encoder_config(folder)
    pooling = read_pooling(folder, config)
    assert (pooling.mode, pooling.normalise, pooling.max_length) == ("mean", True, 24)
    assert (pooling.prompts["query"], pooling.default_prompt) == ("query: ", "query")
    (folder / "sentence_bert_config.json").unlink()
    assert read_pooling(folder, config).max_length == 30
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert read_pooling(folder, config).max_length == 40
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls", "embedding_dimension": 16}')
    (folder / "modules.json").write_text(json.dumps(json.loads((folder / "modules.json").read_text())[:2]))
    pooling = read_pooling(folder, config)
    assert (pooling.mode, pooling.normalise) == ("cls", False)
    (folder / "modules.json").unlink()
    assert (read_pooling(folder, config).mode, read_pooling(folder, config).normalise) == ("mean", True)


DENSE = [
    {"type": "a.Transformer", "path": ""},
    {"type": "a.Pooling", "path": "1_Pooling"},
    {"type": "a.Dense", "path": "2_Dense"},
]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules", DENSE, "module Dense at '2_Dense' is not computed"),
        ("modules", [{"type": "a.Pooling", "path": "../x"}], "leaves the folder"),
        ("modules", [{"type": "a.Transformer", "path": ""}], "no Pooling module"),
        ("modules", {}, "a list of modules is expected"),
        ("1_Pooling/config", {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean, max is not"),
        ("1_Pooling/config", {"pooling_mode_weightedmean_tokens": True}, "weightedmean_tokens is not computed"),
        ("1_Pooling/config", {"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
    ],
)
def test_what_is_not_computed_is_named(tmp_path: Path, file: str, content: Any, message: str) -> None:
    folder = embedding_folder(tmp_path / "a", **{file: content})
    with pytest.raises(UserError, match=message):
        read_pooling(folder, read_encoder_config(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "relative_key' is not computed"),
        ({"is_decoder": True}, "is_decoder is not computed"),
        ({"hidden_act": "silu"}, "activation 'silu' is not computed"),
        ({"num_attention_heads": 5}, "not a multiple of n_head 5"),
        ({"hidden_size": None}, "a field has the wrong type"),
        ({"hidden_size": 20}, "config.json says"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = embedding_folder(tmp_path / "a")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_encoder(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = embedding_folder(tmp_path / "a")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"encoder\.layer\.1\.output\.dense\.bias is missing"):
        load_encoder(folder)
