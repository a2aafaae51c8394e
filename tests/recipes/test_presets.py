"""The presets hold together, the pages' table of stages fits them, and a recipe of one's own is read from a file."""

import json
from pathlib import Path

import pytest

from kaiwa.core.config import from_json, override, to_json
from kaiwa.core.errors import UserError
from kaiwa.recipes.laptop import VILLAGE, sources
from kaiwa.recipes.presets import PRESETS, find_recipe
from kaiwa.recipes.settings import Recipe


@pytest.mark.parametrize("name", PRESETS)
def test_the_stages_of_a_preset_fit_together(name: str) -> None:
    r = find_recipe(name)
    assert r.name == name
    longest = r.pretrain.model.max_length
    assert r.pretrain.width <= longest
    assert r.sft.width <= longest
    assert r.rlhf.max_tokens < longest
    assert r.evaluate.max_tokens < longest
    assert r.compare.max_tokens < longest
    assert r.rlhf.pretraining.ptx_width <= longest
    assert r.evaluate.baseline == "sft"
    names = {source.name for source in r.corpus.sources}
    assert r.evaluate.real_source in names
    assert set(r.pretrain.in_order) <= names
    assert sum(source.weight for source in r.corpus.sources) == pytest.approx(1.0)
    assert r.rlhf.updates * r.rlhf.batch // r.rlhf.group >= 1
    assert r.rlhf.has_pretraining  # PPO-ptx, which the build also runs without its text


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    recipe = find_recipe(name)
    assert from_json(Recipe, json.loads(json.dumps(to_json(recipe)))) == recipe


def test_tiny_is_less_of_everything_than_laptop() -> None:
    tiny, laptop = find_recipe("tiny"), find_recipe("laptop")
    for path in ("village.document_bytes", "village.demonstrations", "village.reward_prompts", "tokenizer.vocab_size",
                 "pretrain.steps", "pretrain.model.d_model", "pretrain.model.n_layer", "rlhf.updates",
                 "evaluate.prompts"):  # fmt: skip
        small: object = tiny
        large: object = laptop
        for field in path.split("."):
            small, large = getattr(small, field), getattr(large, field)
        assert small < large, path  # type: ignore[operator]


def test_laptop_ja_is_laptop_in_two_languages() -> None:
    ja, en = find_recipe("laptop-ja"), find_recipe("laptop")
    assert ja.village.village.languages == ("en", "ja")
    assert en.village.village.languages == ("en",)
    for stage in ("corpus", "sft", "compare", "reward", "rlhf", "quantize", "evaluate"):
        assert getattr(ja, stage) == getattr(en, stage), stage
    assert ja.tokenizer.vocab_size > en.tokenizer.vocab_size


def test_the_sources_have_their_shares() -> None:
    village, docs, code = sources(0.5, 0.3, 0.2)
    assert (village.weight, docs.weight, code.weight) == (0.5, 0.3, 0.2)
    assert village.path == VILLAGE
    assert VILLAGE.format(village="runs/x/village") == "records:runs/x/village/documents.jsonl"
    assert village.trusted  # what the village writes is not filtered
    assert not docs.trusted
    assert not code.trusted


def test_a_recipe_is_changed_by_dotted_names() -> None:
    recipe = override(find_recipe("tiny"), {"rlhf.kl_coefficient": "0.3", "pretrain.model.n_layer": "2", "seed": "7"})
    assert recipe.rlhf.penalty.kl_coefficient == 0.3
    assert recipe.pretrain.model.n_layer == 2
    assert recipe.seed == 7
    with pytest.raises(UserError, match="rlhf has no field 'kl_coeficient'; did you mean 'kl_coefficient'"):
        override(find_recipe("tiny"), {"rlhf.kl_coeficient": "0.3"})


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom kaiwa.recipes.tiny import tiny\n"
        "def recipe():\n    return replace(tiny(), name='mine', seed=3)\n"
    )
    recipe = find_recipe(str(file))
    assert (recipe.name, recipe.seed) == ("mine", 3)
    assert recipe.pretrain == find_recipe("tiny").pretrain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "needs a function recipe"),
        ("def recipe():\n    return 3", "that returns a kaiwa.recipes.settings.Recipe"),
    ],
)
def test_a_file_without_a_recipe_is_told(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        find_recipe(str(file))


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe 'laptpo'; did you mean 'laptop'\? \(or give a Python file"):
        find_recipe("laptpo")
    with pytest.raises(UserError, match=r"none.py: no such recipe file"):
        find_recipe(str(tmp_path / "none.py"))
