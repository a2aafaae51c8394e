"""The extras of `pip install kaiwa`: which one brings a missing module. pyproject.toml has the packages."""

from __future__ import annotations

from kaiwa.core.errors import UserError

# Extra -> modules that kaiwa imports from its packages. An extra includes the extras of INCLUDED.
MODULES = {
    "local": ("torch", "tokenizers", "safetensors", "gguf", "huggingface_hub", "llguidance"),
    "parquet": ("pyarrow",),
    "train": ("trafilatura", "warcio", "charset_normalizer", "ftfy", "py3langid"),
    "web": (
        *("fastapi", "starlette", "pydantic", "uvicorn", "typing_extensions"),
        *("markdown_it", "nh3", "pygments", "python_multipart", "segno"),
    ),
    "data": ("datasets",),
}
INCLUDED = {"train": ("local", "parquet"), "web": ("local",)}


def missing_extra(error: ModuleNotFoundError, used_by: str, usual: str = "") -> UserError | None:
    """Return the one-line error for a module that an extra brings; None for any other module.

    used_by: what needs the module, such as "kaiwa chat". usual: the extra of everything that `used_by` does, named
    if it brings the module too, so that one install is enough.
    """
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in MODULES.items() if module in modules), "")
    if not extra:
        return None
    if extra in INCLUDED.get(usual, ()):
        extra = usual
    return UserError(
        f"{used_by} needs {module}, which is not installed; pip install 'kaiwa[{extra}]'", code="missing_extra"
    )
