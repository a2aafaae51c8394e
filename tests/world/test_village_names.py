"""Names: how they are drawn and written, their pools, and that no two in a book are near."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.world import names as names_module
from kaiwa.world.names import MORAE, POOLS, NameBook, draw_morae, katakana, pool_of, romanised, shared_pairs, written

few = st.sampled_from(("ka", "ki", "sa", "ta"))  # few morae, so that names are near each other
near_names = st.tuples(few, few, few)


def test_both_scripts_by_hand() -> None:
    assert romanised(("no", "ri", "va", "n")) == "Norivan"
    assert katakana(("no", "ri", "va", "n")) == "ノリヴァン"
    assert (written(("fo", "ki", "ya"), "en"), written(("fo", "ki", "ya"), "ja")) == ("Fokiya", "フォキヤ")


def test_a_drawn_name_has_three_morae_no_two_alike_side_by_side() -> None:
    rng = random.Random(0)
    drawn = [draw_morae(rng) for _ in range(2000)]
    assert {len(m) for m in drawn} == {3, 4}
    assert sum(len(m) == 4 for m in drawn) / 2000 == pytest.approx(0.5, abs=0.05)
    for morae in drawn:
        assert set(morae[:3]) <= set(MORAE)
        assert morae[0] != morae[1] != morae[2]
        assert morae[3:] in ((), ("n",))
        assert not any(word in "".join(morae) for word in ("baka", "nazi", "banana", "penis"))
    assert {m[0] for m in drawn} == set(MORAE)


@given(st.lists(near_names, max_size=6), near_names)
def test_a_name_is_free_when_it_differs_from_all_in_two_morae(
    taken: list[tuple[str, ...]], name: tuple[str, ...]
) -> None:
    far = all(sum(a != b for a, b in zip(name, other, strict=True)) >= 2 for other in taken)
    assert NameBook(taken).is_free(name) is far
    assert NameBook(taken).is_free((*name, "n")) is far  # a final n is no difference


def test_the_pairs_of_a_name() -> None:
    assert set(shared_pairs(("a", "b", "c", "n"))) == {(0, 1, "a", "b"), (0, 2, "a", "c"), (1, 2, "b", "c")}


def test_a_drawn_name_stays_away_from_the_book_and_in_its_pool() -> None:
    rng, book = random.Random(1), NameBook()
    drawn = []
    for _ in range(150):
        name = book.draw(rng)
        assert book.is_free(name)
        book.add(name)
        assert not book.is_free(name)
        drawn.append(name)
    assert len({romanised(name) for name in drawn}) == 150
    for pool in POOLS:
        assert {pool_of(romanised(book.draw(rng, pool=pool))) for _ in range(20)} == {pool}


def test_a_pool_depends_on_the_name_alone() -> None:
    assert pool_of("Norivan") == pool_of("norivan") == pool_of("Noriva")
    rng = random.Random(2)
    pools = [pool_of(romanised(draw_morae(rng))) for _ in range(3000)]
    for pool in POOLS:
        assert pools.count(pool) / 3000 == pytest.approx(1 / 3, abs=0.04)


def test_a_full_book_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "draw_morae", lambda rng: ("ka", "ki", "sa"))
    book = NameBook([("ka", "ki", "ta")])
    with pytest.raises(RuntimeError, match="no free name found in 10,000 draws"):
        book.draw(random.Random(0))
