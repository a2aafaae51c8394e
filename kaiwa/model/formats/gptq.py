"""GPTQ's folders: the file layout of AutoGPTQ, GPTQModel, vLLM and transformers, read and written.

For a module of `in` inputs and `out` outputs, group g:
    qweight int32 [in/8, out]   eight inputs per word, the lowest nibble first
    qzeros  int32 [in/g, out/8] zero points, eight per word: version 1 stores zero points minus 1, version 2 unchanged
    scales  fp16  [in/g, out]   w = scale * (code - zero point)
    g_idx   int32 [in]          each input's group: i // g, or anything with act-order
Symmetric quantization has zero point 8 throughout, so its words are 0x77777777 in version 1 and 0x88888888 in version 2
and the words show the version; some files in circulation have the wrong label. Asymmetric files are read as labelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from kaiwa.core.countdown import Countdown
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.family import Family
from kaiwa.model.formats import hf_folder as folders
from kaiwa.model.formats.awq import unpack_awq
from kaiwa.model.formats.hf_config import check_awq, hf_config, read_config, read_family, read_json
from kaiwa.model.formats.hf_names import from_hf, names_of, sizes_of, to_hf
from kaiwa.model.int4 import LARGE, Codes, make_linear, quantize_rtn, quantized_names, replace_linear

PARTS = ("qweight", "qzeros", "scales", "g_idx")
AWQ = 0  # in place of a version of GPTQ
V1, V2 = 0x77777777, 0x88888888 - (1 << 32)
SHIFTS = torch.arange(0, 32, 4)


def pack_gptq(weight: Codes, version: int = 1) -> dict[str, Tensor]:
    """Return a 4-bit weight [out,in] as GPTQ's four tensors: qweight [in/8,out], qzeros [groups,out/8], scales
    [groups,out], g_idx [in].

    UserError for a zero point of 0, which version 1 cannot hold.
    """
    out, inputs = weight.codes.shape
    n_groups = weight.scales.shape[1]
    points = (8 - weight.zeros / weight.scales).round().long()  # [out, groups]
    if int(points.min()) < version % 2 or int(points.max()) > 15 + version % 2:
        raise UserError(
            f"GPTQ version {version} cannot hold the zero points {int(points.min())} to {int(points.max())}"
        )
    less = int(version == 1)
    stored = F.pad(points.T - less, (0, -out % 8), value=8 - less).reshape(n_groups, -1, 8)
    groups = torch.arange(inputs) // (inputs // n_groups)
    codes = weight.codes.T
    if weight.order is not None:  # back to the order of the inputs; g_idx tells the groups
        back = weight.order.argsort()
        codes, groups = codes[back], groups[back]
    words = (codes.reshape(inputs // 8, 8, out).long() << SHIFTS[None, :, None]).sum(dim=1)
    return {
        "qweight": _int32(words),
        "qzeros": _int32((stored << SHIFTS).sum(dim=-1)),
        "scales": weight.scales.T.half().contiguous(),
        "g_idx": groups.to(torch.int32),
    }


def unpack_gptq(tensors: Mapping[str, Tensor], version: int | None = None) -> Codes:
    """Return the 4-bit weight [out,in] of GPTQ's tensors (shapes: `pack_gptq`).

    version None: read from symmetric zero points, else 1.
    """
    if version is None:
        version = zeros_version([tensors["qzeros"]]) or 1
    qweight, scales = tensors["qweight"], tensors["scales"].float()
    inputs, out, n_groups = qweight.shape[0] * 8, qweight.shape[1], len(scales)
    if scales.shape[1] != out or inputs % n_groups or tensors["qzeros"].shape != (n_groups, -(-out // 8)):
        shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        raise UserError(f"the 4-bit tensors do not fit each other: {shapes}")
    if not bool(scales.isfinite().all()):
        raise UserError("the 4-bit scales have NaN or infinity in them; the file is damaged")
    codes = ((qweight.long()[:, None, :] >> SHIFTS[None, :, None]) & 15).view(inputs, out)
    points = ((tensors["qzeros"].long()[:, :, None] >> SHIFTS) & 15).view(n_groups, -1)[:, :out] + int(version == 1)
    order = _order(tensors.get("g_idx"), inputs, n_groups)
    codes = codes if order is None else codes[order]
    zeros = scales * (8 - points)
    return Codes(codes.T.to(torch.uint8).contiguous(), scales.T.contiguous(), zeros.T.contiguous(), order)


def _order(g_idx: Tensor | None, inputs: int, n_groups: int) -> Tensor | None:
    """Return columns [in] sorted by group, or None where already in order. UserError for groups of unequal size."""
    plain = torch.arange(inputs) // (inputs // n_groups)
    if g_idx is None or torch.equal(g_idx.long(), plain):
        return None
    if g_idx.shape != (inputs,) or not torch.equal(g_idx.long().sort().values, plain):
        raise UserError(f"g_idx does not sort {inputs} inputs into {n_groups} groups of one size; the file is damaged")
    return g_idx.long().argsort(stable=True)


def zeros_version(qzeros: list[Tensor]) -> int | None:
    """Return 1 or 2 where every zero point of qzeros [groups,out/8] is 8 (symmetric), None otherwise."""
    for version, word in ((1, V1), (2, V2)):
        if qzeros and all(bool((z == word).all()) for z in qzeros):
            return version
    return None


def _int32(words: Tensor) -> Tensor:
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the quantization's settings (config.json or quantize_config.json). UserError unless 4-bit GPTQ or AWQ."""
    settings = read_json(folder / "config.json").get("quantization_config")
    file = folder / "quantize_config.json"
    if settings is None and file.is_file():
        settings = {"quant_method": "gptq"} | read_json(file)
    settings = settings if isinstance(settings, dict) else {}
    if settings.get("quant_method") == "awq":
        check_awq(settings, folder)
        return settings
    if settings.get("quant_method", settings.get("method")) != "gptq" or settings.get("bits") != 4:
        raise UserError(f"{folder}: its quantization_config is not 4-bit GPTQ or AWQ; only these are read")
    return settings


def load_int4(
    folder: Path,
    dtype: torch.dtype = torch.bfloat16,
    kernel: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Decoder:
    """Load the decoder of a GPTQ or AWQ folder. `say` gets a line when the version on the label is not the data's, and
    lines about the time left."""
    config, family, settings = read_config(folder), read_family(folder), read_settings(folder)
    if family.qkv_by_head:
        raise UserError(f"{folder}: GPTQ folders of {family.model_type} are not read; get the model in bf16 or as GGUF")
    tensors = folders.read_tensors(folder)
    plain = {name: t for name, t in tensors.items() if name.rpartition(".")[2] not in PARTS}
    modules = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    zeros = [tensors[m + ".qzeros"] for m in modules if m + ".qzeros" in tensors]
    awq = settings.get("quant_method") == "awq"
    version = AWQ if awq else _version(folder, settings, zeros, say)
    with torch.device("meta"):
        decoder = Decoder(config)
    quantized, used = [], set()
    countdown = Countdown(f"reading {folder.name}", sum(t.nbytes for t in tensors.values()), say)
    try:
        for name in [*quantized_names(decoder), "unembed.weight"]:
            names = names_of(config, name, family)
            parts = [_part(tensors, theirs, version, config) for theirs in names]
            if not any(isinstance(p, Codes) for p in parts):
                continue
            used |= {theirs.removesuffix(".weight") for theirs in names}
            bias = _bias(tensors, config, name, names)
            _check_shape(decoder, name, parts)
            lean = config.n_parameters > LARGE
            replace_linear(decoder, name, make_linear(parts, bias, dtype, kernel, lean))
            quantized.append(name)
            packed = (tensors.get(f"{theirs.removesuffix('.weight')}.{p}") for theirs in names for p in PARTS)
            countdown.add(sum(t.nbytes for t in packed if t is not None))
        extra = [m for m in modules if m not in used]
        if extra:
            raise UserError(f"4-bit tensors of {extra[0]} have no place in this model")
        _load_rest(decoder, family, plain, quantized, dtype)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    return decoder.requires_grad_(False).eval()


def _version(folder: Path, settings: Mapping[str, Any], qzeros: list[Tensor], say: Callable[[str], None]) -> int:
    label = 2 if settings.get("checkpoint_format", settings.get("format")) == "gptq_v2" else 1
    data = zeros_version(qzeros)
    if data is not None and data != label:
        say(f"{folder}: labelled GPTQ version {label}, but its zero points are those of version {data}: read as {data}")
    return data or label


def _part(tensors: Mapping[str, Tensor], theirs: str, version: int, config: DecoderConfig) -> Codes | Tensor:
    module = theirs.removesuffix(".weight")
    own = {p: tensors[f"{module}.{p}"] for p in PARTS if f"{module}.{p}" in tensors}
    if "qweight" in own:
        missing = [p for p in ("qzeros", "scales") if p not in own]
        if missing:
            raise UserError(f"tensor {module}.{missing[0]} is missing")
        return unpack_awq(own) if version == AWQ else unpack_gptq(own, version)
    if theirs in tensors:
        return tensors[theirs].T if config.dialect == "gpt3" and theirs != "lm_head.weight" else tensors[theirs]
    if theirs == "lm_head.weight":
        return torch.empty(0)
    raise UserError(f"tensor {theirs} is missing (or {module}.qweight)")


def _bias(tensors: Mapping[str, Tensor], config: DecoderConfig, name: str, weights: Sequence[str]) -> Tensor | None:
    """Return the fused bias [out] of a layer whose weights have these names; parts without a bias (AutoGPTQ writes
    zeros where a model has no bias) count as 0.
    """
    if name == "unembed.weight":
        return None
    names = [n.removesuffix("weight") + "bias" for n in weights]
    if not any(n in tensors for n in names):
        return None
    sizes = sizes_of(config, name) if len(names) > 1 else [-1]  # one that there is
    return torch.cat([tensors[n] if n in tensors else torch.zeros(s) for n, s in zip(names, sizes, strict=True)])


def _check_shape(decoder: Decoder, name: str, parts: list[Codes | Tensor]) -> None:
    shapes = [tuple((p.codes if isinstance(p, Codes) else p).shape) for p in parts]
    expected = tuple(decoder.state_dict()[name].shape)
    if (sum(s[0] for s in shapes), *shapes[0][1:]) != expected or len({s[1:] for s in shapes}) > 1:
        raise UserError(f"the parts of {name} are {shapes}, config.json says {expected} together")


class GptqFolder:
    """A GPTQ folder read one layer at a time, for models of which only one copy fits in memory.

    linears: our names of the products, the unembedding last. version: of the zero points (see above).
    """

    def __init__(self, folder: Path, config: DecoderConfig, say: Callable[[str], None]) -> None:
        self.folder, self.config, self.family = folder, config, read_family(folder)
        self._files: dict[str, Path] = {}
        for file in folders.weight_files(folder):
            with open_tensors(file) as f:
                self._files |= dict.fromkeys(f.keys(), file)
        with torch.device("meta"):
            decoder = Decoder(config)
        self._shapes = {name: tuple(t.shape) for name, t in decoder.state_dict().items()}
        self.linears = [*quantized_names(decoder), "unembed.weight"]
        zeros = [self._get(name) for name in self._files if name.endswith(".qzeros")]
        self.version = _version(folder, read_settings(folder), zeros, say)
        names = {t.removesuffix("weight") for name in self.linears for t in names_of(config, name, self.family)}
        extra = [n for n in self._files if n.endswith(".qweight") and n.removesuffix("qweight") not in names]
        if extra:
            raise UserError(
                f"{folder}: 4-bit tensors of {extra[0].removesuffix('.qweight')} have no place in this model"
            )

    def _get(self, name: str) -> Tensor:
        if name not in self._files:
            raise UserError(f"{self.folder}: tensor {name} is missing; the folder is incomplete")
        with open_tensors(self._files[name]) as f:
            return f.get_tensor(name)  # type: ignore[no-any-return]

    def parts(self, name: str) -> list[dict[str, Tensor]]:
        """Return a product's parts, from top to bottom, shapes checked: GPTQ's tensors, or {"weight"} [out,in] of a
        dense part.
        """
        parts, rows = [], 0
        out, inputs = self._shapes[name]
        for theirs in names_of(self.config, name, self.family):
            module = theirs.removesuffix(".weight")
            if f"{module}.qweight" not in self._files:
                tied = self.config.tie_embeddings and theirs == "lm_head.weight" and theirs not in self._files
                part = {"weight": self._get("model.embed_tokens.weight" if tied else theirs)}
                shape = tuple(part["weight"].shape)
            else:
                part = {
                    p: self._get(f"{module}.{p}") for p in PARTS if p != "g_idx" or f"{module}.g_idx" in self._files
                }
                self._check_kinds(module, part)
                groups, width = part["scales"].shape
                shape = (part["qweight"].shape[1], part["qweight"].shape[0] * 8)
                if shape[0] != width or shape[1] % groups or part["qzeros"].shape != (groups, -(-width // 8)):
                    shapes = {key: tuple(t.shape) for key, t in part.items()}
                    raise UserError(f"{self.folder}: the 4-bit tensors of {module} do not fit each other: {shapes}")
            rows += shape[0]
            if shape[1] != inputs or rows > out:
                raise UserError(f"{self.folder}: {theirs} is {shape}, config.json says {(out, inputs)} for {name}")
            parts.append(part)
        if rows != out:
            raise UserError(f"{self.folder}: the parts of {name} have {rows} rows, config.json says {out}")
        return parts

    def _check_kinds(self, module: str, part: Mapping[str, Tensor]) -> None:
        """Raise UserError unless the words are int32: the code that follows reads the memory by address."""
        for name, tensor in part.items():
            whole = name != "scales"
            right = tensor.dtype == torch.int32 if whole else tensor.is_floating_point()
            if not right or tensor.ndim != (1 if name == "g_idx" else 2) or not tensor.numel():
                shape = tuple(tensor.shape)
                raise UserError(f"{self.folder}: {module}.{name} is {tensor.dtype} {shape}, which is no part of GPTQ")

    def order(self, part: Mapping[str, Tensor]) -> Tensor | None:
        """Return the input of each column [in], or None where columns are in order."""
        return _order(part.get("g_idx"), part["qweight"].shape[0] * 8, len(part["scales"]))

    def bias(self, name: str) -> Tensor | None:
        """Return the fused bias [out]; parts whose bias is missing or zero throughout (AutoGPTQ writes zeros) count as
        0.
        """
        biases = {
            n: self._get(n) for t in names_of(self.config, name, self.family) if (n := _bias_name(t)) in self._files
        }
        if not any(bool(t.any()) for t in biases.values()):
            return None
        return _bias(biases, self.config, name, names_of(self.config, name, self.family))

    def rest(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors outside the products, under our names, in bf16: embeddings [V,D] and norms [D]."""
        products = {n.removesuffix("weight") for n in self.linears}
        for name, shape in self._shapes.items():
            if name.removesuffix("weight").removesuffix("bias") in products:
                continue
            tensor = torch.cat([self._get(theirs) for theirs in names_of(self.config, name, self.family)]).bfloat16()
            folders.check_state({name: tensor}, {name: shape})
            yield name, tensor


def _bias_name(theirs: str) -> str:
    return theirs.removesuffix("weight") + "bias"


def open_tensors(file: Path) -> Any:
    """Open one safetensors file. UserError for a damaged file."""
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file}: damaged or no safetensors file ({error})") from None


def _load_rest(
    decoder: Decoder, family: Family, plain: dict[str, Tensor], quantized: list[str], dtype: torch.dtype
) -> None:
    """Load the dense tensors: embeddings, norms, layers that were left dense."""
    config = decoder.config
    done = {n for name in quantized for n in (name, name.removesuffix("weight") + "bias")}
    shapes = {n: tuple(t.shape) for n, t in decoder.state_dict().items() if n not in done}
    shapes = {n: s for n, s in shapes.items() if ".parts." not in n}
    weights = [theirs for name in quantized for theirs in names_of(config, name, family)]
    names = {n for theirs in weights for n in (theirs, theirs.removesuffix("weight") + "bias")}
    state = from_hf(config, {n: t for n, t in plain.items() if n not in names}, list(shapes), family)
    folders.check_state(state, shapes)
    decoder.load_state_dict({n: folders.copy_contiguous(t, dtype) for n, t in state.items()}, strict=False, assign=True)
    if config.tie_embeddings and "unembed.weight" not in quantized:
        decoder.unembed.weight = decoder.embed.weight


def save_int4(folder: Path, decoder: Decoder, special: dict[str, int], group: int) -> None:
    """Quantize the blocks' linears round to nearest; write config.json and model.safetensors, the rest in bf16."""
    state = decoder.state_dict()
    layers = {name: Codes(*quantize_rtn(state[name], group)) for name in quantized_names(decoder)}
    settings = {"group_size": group, "sym": True, "desc_act": False, "meta": {"quantizer": ["kaiwa:round-to-nearest"]}}
    save_gptq(folder, decoder, special, layers, settings=settings)


def save_gptq(
    folder: Path,
    decoder: Decoder,
    special: dict[str, int],
    layers: Mapping[str, Codes],
    *,
    settings: Mapping[str, Any],
    version: int = 1,
) -> None:
    """Write a GPTQ folder: the weights in `layers` (by our names) at 4 bits, everything else in bf16."""
    config, state = decoder.config, decoder.state_dict()
    head = "unembed.weight" in layers
    tensors: dict[str, Tensor] = {}
    for name, codes in layers.items():
        theirs, sizes = names_of(config, name), sizes_of(config, name)
        parts = [torch.arange(len(codes.codes))] if len(theirs) == 1 else torch.arange(len(codes.codes)).split(sizes)
        for their, index in zip(theirs, parts, strict=True):
            packed = pack_gptq(codes.rows(index), version)
            tensors |= {f"{their.removesuffix('.weight')}.{part}": t for part, t in packed.items()}
    rest = to_hf(config, {n: t for n, t in state.items() if n not in layers}, False)
    tensors |= {n: t.detach().to("cpu", torch.bfloat16).contiguous() for n, t in rest.items()}
    whole = {
        "quant_method": "gptq",
        "checkpoint_format": "gptq" if version == 1 else "gptq_v2",
        "bits": 4,
        "lm_head": head,
        "pack_dtype": "int32",
        **settings,
    }
    card = hf_config(config, False) | special | {"torch_dtype": "bfloat16", "quantization_config": whole}
    card |= {"tie_word_embeddings": False} if head else {}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / folders.WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "quantize_config.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", "utf-8")
