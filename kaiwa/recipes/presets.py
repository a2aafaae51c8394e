"""The recipes by name: `tiny`, `laptop`, `laptop-ja`, the same on dialogues, or a Python file of the user."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.recipes.chatgpt import chatgpt, chatgpt_ja, tiny_chatgpt
from kaiwa.recipes.laptop import laptop, laptop_ja
from kaiwa.recipes.settings import Recipe
from kaiwa.recipes.tiny import tiny

PRESETS: dict[str, Callable[[], Recipe]] = {
    "tiny": tiny,
    "laptop": laptop,
    "laptop-ja": laptop_ja,
    "tiny-chatgpt": tiny_chatgpt,
    "chatgpt": chatgpt,
    "chatgpt-ja": chatgpt_ja,
}


def find_recipe(name: str) -> Recipe:
    """Return a preset by name, or the recipe that the function `recipe()` of a Python file returns.

    Raise UserError for an unknown name, a missing file, or a file whose `recipe()` returns no Recipe.
    """
    if name in PRESETS:
        return PRESETS[name]()
    file = Path(name)
    if file.suffix != ".py":
        raise UserError(
            f"no recipe {name!r}{did_you_mean(name, PRESETS)} (or give a Python file with a recipe() function)"
        )
    if not file.is_file():
        raise UserError(f"{file}: no such recipe file")
    spec = importlib.util.spec_from_file_location("kaiwa_recipe", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, "recipe", None)
    if function is None or not isinstance(recipe := function(), Recipe):
        raise UserError(f"{file}: a recipe file needs a function recipe() that returns a kaiwa.recipes.settings.Recipe")
    return recipe
