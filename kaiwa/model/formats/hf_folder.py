"""Model folders: Hugging Face's layout, so that transformers and vLLM load our models, and kaiwa loads theirs.

LLaMA dialect <-> LlamaForCausalLM and relatives, GPT-3 dialect <-> GPT2LMHeadModel, reward models <->
...ForSequenceClassification with one label (`score` has no bias there: ours is `kaiwa_score_bias` in config.json).
safetensors only: pickled weights can run code and are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kaiwa.core.countdown import Countdown
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.hf_config import hf_config, read_config, read_family, read_json
from kaiwa.model.formats.hf_names import from_hf, to_hf
from kaiwa.model.heads import ScalarModel

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
COMPUTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def save_model(folder: Path, model: Decoder | ScalarModel, special: dict[str, int], dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors. `special`: bos/eos/pad token ids for config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    scalar = isinstance(model, ScalarModel)
    decoder = model.decoder if isinstance(model, ScalarModel) else model
    tensors = to_hf(decoder.config, decoder.state_dict(), scalar)
    config = hf_config(decoder.config, scalar) | special | {"torch_dtype": str(dtype).removeprefix("torch.")}
    if isinstance(model, ScalarModel):
        tensors["score.weight"] = model.score.weight
        config["kaiwa_score_bias"] = float(model.bias)
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_decoder(
    folder: Path, dtype: torch.dtype = torch.float32, say: Callable[[str], None] = lambda line: None
) -> Decoder:
    """Load the decoder of a folder, whole and checked: no missing, extra, misshapen or non-finite tensor. `say` gets
    lines about the time left."""
    return _decoder(folder, read_config(folder), read_tensors(folder), dtype, say)


def load_scalar(folder: Path, dtype: torch.dtype = torch.float32) -> ScalarModel:
    """Load a reward model from its folder (the head and its bias included)."""
    config, tensors = read_config(folder), read_tensors(folder)
    if "score.weight" not in tensors:
        raise UserError(f"{folder}: has no scalar head (score.weight); give a reward model's folder")
    head = tensors.pop("score.weight")
    if head.shape != (1, config.d_model):
        raise UserError(f"{folder}: score.weight is {tuple(head.shape)}, {(1, config.d_model)} is expected")
    model = ScalarModel(_decoder(folder, config, tensors, torch.float32))
    with torch.no_grad():
        model.score.weight.copy_(head)
        model.bias.fill_(read_json(folder / "config.json").get("kaiwa_score_bias", 0.0))
    return model.to(dtype)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors [...] of a folder's safetensors: the files in the index, else model.safetensors, else every
    safetensors file.

    A tensor in several files is the one of the file that the index names for it; without an index that is a UserError.
    """
    index = folder / INDEX
    named = read_json(index).get("weight_map", {}) if index.is_file() else {}
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            part = load_file(file)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{file}: damaged or no safetensors file ({error})") from None
        part = {name: tensor for name, tensor in part.items() if named.get(name, file.name) == file.name}
        twice = tensors.keys() & part.keys()
        if twice:
            raise UserError(f"{file}: tensor {min(twice)} is in another file of the folder too")
        tensors |= part
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files to read. UserError for none, a missing shard, a name that leaves the folder."""
    index = folder / INDEX
    if not index.is_file():
        whole = folder / WEIGHTS
        files = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
        if files:
            return files
        pickled = next((p.name for kind in PICKLES for p in sorted(folder.glob(kind))), None)
        why = f"{pickled} is pickled, and pickles can run code: refused; " if pickled else ""
        raise UserError(f"{folder}: no .safetensors file; {why}convert the weights to safetensors")
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(v, str) for v in named.values()):
        raise UserError(f"{index}: weight_map must name a file for every tensor")
    files = []
    for name in sorted(set(named.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index}: {name[:80]!r} is no .safetensors file of this folder")
        if not (folder / name).is_file():
            raise UserError(f"{index}: names {name}, which is not there; the folder is incomplete")
        files.append(folder / name)
    return files


def _decoder(
    folder: Path,
    config: DecoderConfig,
    tensors: dict[str, Tensor],
    dtype: torch.dtype,
    say: Callable[[str], None] = lambda line: None,
) -> Decoder:
    with torch.device("meta"):
        model = Decoder(config)
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    try:
        state = from_hf(config, tensors, list(shapes), read_family(folder))
        check_state(state, shapes)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    countdown = Countdown(f"reading {folder.name}", sum(t.nbytes for t in state.values()), say)
    copies = {}
    for name, tensor in state.items():
        copies[name] = copy_contiguous(tensor, dtype)
        countdown.add(tensor.nbytes)
    model.load_state_dict(copies, strict=True, assign=True)
    if config.tie_embeddings:
        model.unembed.weight = model.embed.weight
    return model.requires_grad_(True)


def check_state(state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise UserError for a tensor [...] of another shape than the model's, or with NaN or infinity inside."""
    for name, tensor in state.items():
        if tuple(tensor.shape) != shapes[name]:
            raise UserError(f"{name} is {tuple(tensor.shape)}, config.json says {shapes[name]}")
        if tensor.dtype not in COMPUTED:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{name} is {kind}; F32, F16 and BF16 are computed, get the model in one of these")
        if not is_finite(tensor):
            raise UserError(f"{name} has weights that are not numbers (NaN or infinity); the file is damaged")


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor [...] has neither NaN nor infinity: in one pass, since both show in its extremes."""
    return not tensor.numel() or all(bool(extreme.isfinite()) for extreme in tensor.aminmax())


def copy_contiguous(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy of a tensor [...] with memory of its own, rows one after another (GPT-2's products come
    transposed)."""
    return tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
