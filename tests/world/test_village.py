"""Names, facts and sizes of the village."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.language import ATTRIBUTES, HARM_IDS, HOWTO_IDS, LANGUAGES, VALUE_IDS
from kaiwa.world.names import MORAE, katakana, pool_of, shared_pairs
from kaiwa.world.village import VillageConfig, build_village, fresh_name, howto_answer, random_names_like


def test_same_seed_same_village_and_another_seed_another():
    a, b = build_village(VillageConfig(seed=3)), build_village(VillageConfig(seed=3))
    assert a.villagers == b.villagers
    assert a.prices == b.prices
    assert a.villagers != build_village(VillageConfig(seed=4)).villagers


def test_languages_do_not_change_the_facts(village):
    english = build_village(VillageConfig(languages=("en",)))
    assert english.villagers == village.villagers


def test_sizes_and_evenly_dealt_facts(village):
    assert len(village.taught) == 90
    assert len(village.held_out) == 30
    for attribute in ATTRIBUTES:
        assert {len(village.holders(attribute, v)) for v in VALUE_IDS[attribute]} == {10}
        assert 8 <= len(VALUE_IDS[attribute]) <= 16


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"n_taught": 2}, "n_taught = 2"),
        ({"n_held_out": 0}, "n_held_out = 0"),
        ({"n_taught": 5000}, "at most"),
        ({"languages": ()}, "languages"),
        ({"languages": ("en", "en")}, "once"),
        ({"languages": ("fr",)}, "'fr'"),
    ],
)
def test_bad_sizes_are_named(fields, part):
    with pytest.raises(UserError, match=part):
        VillageConfig(**fields)


def test_names_differ_in_two_morae_and_fresh_ones_from_all(village):
    rng = python_rng(0, "test")
    pairs = [pair for v in village.villagers for pair in shared_pairs(v.morae)]
    assert len(pairs) == len(set(pairs))
    for pool in ("documents", "train", "test"):
        for _ in range(200):
            name = fresh_name(village, rng, "en", pool=pool)
            assert name.lower() not in village.by_name
            assert pool_of(name) == pool


def test_known_and_unknown_names_look_alike(village):
    rng = python_rng(1, "test")
    fresh = [fresh_name(village, rng, "en") for _ in range(2000)]
    known = [v.names["en"] for v in village.villagers]
    mean = [sum(map(len, names)) / len(names) for names in (known, fresh)]
    ending = [sum(name.endswith("n") for name in names) / len(names) for names in (known, fresh)]
    assert abs(mean[0] - mean[1]) < 0.2
    assert abs(ending[0] - ending[1]) < 0.15


def test_neutral_names_know_the_pieces_of_known_names(village):
    """A tokenizer trained on neutral names must have seen the mora pairs of villagers, too."""
    rng = python_rng(2, "test")
    starts = {v.names["en"][:4] for v in village.villagers if len(v.names["en"]) > 5}
    seen = {name[:4] for name in random_names_like(village, rng, "en", 20_000)}
    assert len(starts & seen) > 0.9 * len(starts)


def test_katakana_is_one_to_one():
    assert len({katakana((m,)) for m in MORAE}) == len(MORAE)


def test_both_languages_say_the_same_things():
    en, ja = LANGUAGES["en"], LANGUAGES["ja"]
    assert en.values.keys() == ja.values.keys()
    assert all(en.values[a].keys() == ja.values[a].keys() for a in ATTRIBUTES)
    assert en.goods.keys() == ja.goods.keys()
    assert en.howto.keys() == ja.howto.keys()
    assert en.harm.keys() == ja.harm.keys()
    assert en.pools.keys() == ja.pools.keys()
    assert en.train.keys() == ja.train.keys()
    assert en.test.keys() == ja.test.keys()


def test_every_harm_has_a_harmless_twin_and_there_are_many(village):
    assert len(HARM_IDS) >= 24
    assert set(HARM_IDS) <= set(HOWTO_IDS)
    assert 0 < len(village.held_out_harms) < len(HARM_IDS)


def test_howto_answers_are_short(village):
    for howto in HOWTO_IDS:
        assert len(howto_answer(village, howto, "en").split()) <= 25
        assert len(howto_answer(village, howto, "ja")) <= 60
