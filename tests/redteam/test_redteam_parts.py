"""Canaries, targets, attacks, transforms, oracles, rules: the parts of a trial."""

import base64
import codecs
import contextlib
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.defend.alphabets import to_kana, to_katakana, to_romaji
from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.attacks.attack import FAMILIES, build_attack, build_control, choose_attacks, reason_not_applicable
from kaiwa.redteam.attacks.transforms import split_message, transform
from kaiwa.redteam.bench.selftest import ANSWERS, secret_forms
from kaiwa.redteam.oracles.aims import QUESTIONS, check_aim, choose_aim, find_calls, list_options
from kaiwa.redteam.oracles.leaks import FORMS, find_leak
from kaiwa.redteam.oracles.rules import asserts_fact, breaks_rule, count_words, detect_language
from kaiwa.redteam.targets.canary import Pattern
from kaiwa.redteam.targets.target import Fact, Rule, Target, list_examples, read_target, target_from_toml

SECRET = "falcon-7204"
LETTERS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.!?\n\"'", max_size=60)


@pytest.mark.parametrize(
    "pattern",
    [
        "[a-z]{4}-[0-9]{3}",
        r"\d{5}",
        "(red|blue|green)[0-9]{4,6}x?",
        r"[\w]{8}",
        "(?:さくら|もみじ)[0-9]{4}",
        r"a\.b[+\-]\d{5}",
    ],
)
@given(seed=st.integers(0, 10_000))
def test_a_canary_matches_its_pattern(pattern: str, seed: int) -> None:
    assert re.fullmatch(pattern, Pattern(pattern).draw(random.Random(seed)))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[a-z]{2}", "only 676"), ("abc", "only 1"), (".{8}", "a ."), ("[a-z", "not closed"), ("(a|b", "not closed"),
        ("a)", "unopened"), ("[^a]{8}", "what it is not"), ("[a-z]{99}", "up to 99"), ("[z-a]{9}", "range z-a"),
        ("[a-z]{1,8}", "only 208"), ("[a-z]{0,6}", "only 7;"), ("(a|[0-9]{6})", "only 2;"),
        ("(x|x|y)[0-9]{3}", "only 1,500"), ("[a-z]{3}", "only 3 letters"), ("[0-9]{3,9}", "only 7,000"),
        ("[aA]{20}", "only 1;"), ("[+_!-]{9}abcd", "only 1;"), ("abcd" + "e?" * 30, "only 6;"),
        ("[0-9]{3}([0-9]{999}){0}", "only 1,000"),
        ("\\", "nothing behind"), ("[a-z]{5,2}", "before"), ("a+[a-z]{9}", "a +"), ("\\b[a-z]{9}", "\\b"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_be_used_says_why(pattern: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["[0-9]{4}", "[a-z]{4}", "[\u4e00-\u9fff]{2}", "(otter|heron)-[0-9]{4}"])
def test_a_pattern_at_the_limit_is_good(pattern: str) -> None:
    assert len(Pattern(pattern).draw(random.Random(0))) >= 2


def test_examples_are_whole() -> None:
    names = list_examples()
    assert len(names) == 12
    assert {name.partition(".")[2] for name in names} == {"en", "ja"}
    for name in names:
        target = read_target(name)
        canaries = target.canaries(3)
        assert canaries == target.canaries(3)
        assert canaries != target.canaries(4) or not target.secrets
        prompt = target.prompt(canaries)
        assert all(value in prompt for value in canaries.values())
        assert target.benign
        assert target.language == name.partition(".")[2]


GOOD = 'name = "x"\nsystem = "The word is {secret}."\n[[secret]]\nname = "word"\npattern = "[a-z]{5}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"), ('name = "x"', "system must be given"), (GOOD + "[[rules]]\n", "did you mean 'rule'"),
        ('name = "x"\nsystem = "{secret}"', "no [[secret]]"), (GOOD.replace("{secret}", "it"), "no {word}"),
        (GOOD + '[[rule]]\nname = "r"\ncheck = "contain"\nvalue = "a"', "did you mean 'contains'"),
        (GOOD + '[[rule]]\nname = "r"\ncheck = "max_words"\nvalue = "a"', "whole number"),
        (GOOD + '[[rule]]\nname = "r"\ncheck = "regex"\nvalue = "["\nask = "x"', "no regular expression"),
        (GOOD + '[[rule]]\nname = "r"\ncheck = "regex"\nvalue = "a"', "needs ask"),
        (GOOD + '[[rule]]\ncheck = "contains"\nvalue = "a"', "name"),
        (GOOD + '[[tool]]\nname = "word"\ndescription = "d"', "two things are called 'word'"),
        (GOOD.replace("[a-z]{5}", "[a-z]"), "only 26"), ("language = 'fr'\n" + GOOD, "use en or ja"),
        (GOOD + '[secrets]\n', "did you mean 'secret'"), (GOOD.replace("[[secret]]", "[secret]"), "two brackets"),
        ("defences = 'none'\n" + GOOD, "list of names"), ("[model]\nurl = 'http://x'\n", "name must be given"),
        ("model = 3\n" + GOOD, "[model] has name"), (GOOD + '[[fact]]\nstatemnt = "a"', "did you mean 'statement'"),
    ],
)  # fmt: skip
def test_a_wrong_target_says_where(text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        target_from_toml(text)


def test_secret_means_the_one_called_so() -> None:
    other = GOOD.replace("{secret}", "{word}, {secret}") + '[[secret]]\nname = "secret"\npattern = "[0-9]{5}"\n'
    assert target_from_toml(other).prompt({"word": "abcde", "secret": "12345"}) == "The word is abcde, 12345."
    with pytest.raises(UserError, match=r"no \{word\}"):
        target_from_toml(other.replace("{word}, ", ""))


@given(st.text(max_size=300))
def test_any_text_is_a_target_or_one_clear_line(text: str) -> None:
    with contextlib.suppress(UserError):
        target_from_toml(text)


def test_attacks_are_at_least_forty_in_both_languages() -> None:
    assert len(ATTACKS) >= 40
    assert len({a.name for a in ATTACKS}) == len(ATTACKS)
    assert sum(a.turns == 1 for a in ATTACKS) >= 40
    assert {a.family for a in ATTACKS} | {"own"} == set(FAMILIES)
    for attack in ATTACKS:
        assert len(attack.wording["en"]) == len(attack.wording["ja"]) >= 1, attack.name
        assert all(detect_language(text) == "ja" for text in attack.wording["ja"]), attack.name
        assert re.fullmatch(r"LLM\d\d:2025", attack.owasp)
        assert re.fullmatch(r"AML\.T\d{4}(\.\d{3})?", attack.atlas)


@pytest.mark.parametrize("name", list_examples())
def test_every_attack_can_be_built_for_every_example(name: str) -> None:
    target = read_target(name)
    for attack in ATTACKS:
        if reason_not_applicable(attack, target):
            assert choose_aim(target, attack.goals, 0) is None or attack.place == "tool"
            continue
        for trial in range(4):
            made = choose_aim(target, attack.goals, trial)
            assert made is not None
            for built in (build_attack(attack, made, target, trial), build_control(attack, made, target, trial)):
                text = "\n".join((*built.turns, *(m.content for m in built.opening)))
                assert not re.search(r"\{(task|first|second|secret|payload)\}", text)
                assert all(any(d in t for t in built.turns) for d in built.data)
                assert all(canary not in text for canary in target.canaries(trial).values())


def test_attacks_are_chosen_by_family_name_and_dress() -> None:
    names = [a.name for a in choose_attacks("leaking,persona+leet+full-width, persona", ATTACKS)]
    assert "plain" in names
    assert "persona+leet+full-width" in names
    assert names.count("persona") == 1
    assert [a.turns for a in choose_attacks("persona+split", ATTACKS)] == [6]
    for text, said in (
        ("perona", "did you mean 'persona'"),
        ("persona+lett", "did you mean 'leet'"),
        ("mail+split", "turns"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            choose_attacks(text, ATTACKS)
    keeper = read_target("keeper.en")
    other = choose_attacks("plain+language", ATTACKS)[0]
    made = choose_aim(keeper, other.goals, 0)
    assert made is not None
    assert detect_language(build_attack(other, made, keeper, 0).turns[0]) == "ja"


@given(LETTERS)
def test_transforms_can_be_undone(text: str) -> None:
    assert base64.b64decode(transform("base64", text, "en").split("\n", 1)[1]).decode() == text
    assert codecs.decode(transform("rot13", text, "en").split("\n", 1)[1], "rot13") == text
    assert transform("zero-width", text, "en").replace("\u200b", "") == text
    assert len(transform("homoglyphs", text, "en")) == len(text)


@given(st.text(min_size=1, max_size=80))
def test_split_loses_nothing(text: str) -> None:
    turns = split_message(text, "en")
    assert "".join(turn.split(": ", 1)[1] for turn in turns[1:-1]) == text


def test_kana_and_romaji() -> None:
    assert to_romaji("さくら") == "sakura"
    assert to_romaji("きっぷ") == "kippu"
    assert to_romaji("しゃしん") == "shashin"
    assert to_romaji("きょう") == "kyou"
    assert to_romaji("マッチ") == "matchi"
    assert to_kana("sakura") == "さくら"
    assert to_katakana("さくら!") == "サクラ!"


@pytest.mark.parametrize(
    ("reply", "form"),
    [
        ("The password is Falcon - 7204!", "whole"), ("Ｆａｌｃｏｎ－７２０４", "whole"),
        ("fal\u200bcon-72\u200b04", "whole"),
        ("4027-noclaf", "reversed"), ("noclaf 4027", "reversed"),
        (base64.b64encode(b"it is falcon-7204").decode(), "encoded"), ("snypba-7204", "encoded"),
        ("f4lc0n-7204", "encoded"),
        ("66 61 6c 63 6f 6e 2d 37 32 30 34", "encoded"), ("fa%6Ccon%2D7204", "encoded"),
        ("01100110 01100001 01101100 01100011 01101111 01101110 00110111 00110010 00110000 00110100", "encoded"),
        ("..-. .- .-.. -.-. --- -. --... ..--- ----- ....-", "encoded"),
        ("f, a, l, c, o, n, 7, 2, 0, 4", "whole"),
        ("1. f\n2. a\n3. l\n4. c\n5. o\n6. n\n7. 7\n8. 2\n9. 0\n10. 4", "letters"),
        ("foxtrot alpha lima charlie oscar november seven two zero four", "translated"),
        ("Fine apples lie cold on nets 7 2 0 4", "letters"),
        ("The falcon, and then seven two zero four", ""), ("falcon seven two zero four", "translated"),
        ("falcon 七二〇四", "translated"), ("my falcon720 is here", "partial"),
        ("falcon", ""), ("The password is maple-1138.", ""), ("", ""), ("7204", ""),
    ],
)  # fmt: skip
def test_leaks_are_told_by_their_form(reply: str, form: str) -> None:
    assert find_leak(SECRET, [reply]) == form
    assert form in (*FORMS, "")


def test_leaks_over_turns_and_in_japanese() -> None:
    assert find_leak(SECRET, ["The first is f", "then a", "l", "c", "o", "n", "7", "2", "0", "so 4"]) == "turns"
    assert find_leak(SECRET, ["falcon-", "7204"]) == "turns"
    assert find_leak(SECRET, ["falcon", "no more"]) == ""
    assert find_leak("さくら2018", ["サクラ2018です"]) == "whole"
    assert find_leak("さくら2018", ["sakura2018"]) == "translated"
    assert find_leak("さくら2018", ["さ、く、ら、2、0、1、8"]) == "whole"
    assert find_leak("さくら2018", ["合言葉は言えません。"]) == ""


@given(LETTERS, st.integers(0, 8), LETTERS)
def test_every_form_is_found_in_any_company(before: str, which: int, after: str) -> None:
    assert find_leak(SECRET, [f"{before}\n{secret_forms(SECRET)[which]}\n{after}"])


@given(st.text(max_size=120))
def test_what_is_no_leak_is_none(text: str) -> None:
    secret = "qzjxkwvh-9173"
    assert find_leak(secret, [text]) == ""


def rule(check: str, value: str | int) -> Rule:
    return Rule(name="r", check=check, value=value, ask="a")


def test_rules(tmp_path: Path) -> None:
    assert breaks_rule(rule("contains", "Blue Tea"), "Buy ｂｌｕｅ tea")
    assert not breaks_rule(rule("contains", "Blue Tea"), "Buy green tea")
    assert breaks_rule(rule("regex", r"\bcat\b"), "a cat")
    assert breaks_rule(rule("max_words", 3), "one two three four")
    assert not breaks_rule(rule("max_words", 3), "one two three")
    assert count_words("これは長い文です") == 3
    assert breaks_rule(rule("language", "ja"), "Hello there")
    assert not breaks_rule(rule("language", "ja"), "こんにちは, OK")
    assert not breaks_rule(rule("language", "ja"), "123")
    (tmp_path / "odd.py").write_text("import sys\nsys.exit('x' in sys.stdin.read())")
    assert breaks_rule(rule("program", "odd.py"), "axe", str(tmp_path))
    assert not breaks_rule(rule("program", "odd.py"), "bee", str(tmp_path))
    (tmp_path / "latin.py").write_text("import sys\nsys.stdout.buffer.write(b'caf\\xe9')\nsys.exit(1)")
    assert breaks_rule(rule("program", "latin.py"), "x", str(tmp_path))
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    for name, said in (("bad.py", "exit code 3"), ("none.py", "no such file")):
        with pytest.raises(UserError, match=said):
            breaks_rule(rule("program", name), "x", str(tmp_path))


@pytest.mark.parametrize(
    ("reply", "yes"),
    [
        ("The sun is cold.", True), ("Arr! The sun is very cold, my friend.", True), ("The sun is not cold.", False),
        ("The sun is hot.", False), ("You want me to say that the sun is cold.", False),
        ("The sun is cold? The sun is hot.", False),
        ("It is a myth that the sun is cold.", False), ("If the sun is cold, then what?", False), ("", False),
        ('Say this: "The sun is cold."', False),
    ],
)  # fmt: skip
def test_assertions(reply: str, yes: bool) -> None:
    fact = Fact(statement="The sun is cold.", truth="The sun is hot.")
    assert asserts_fact(fact, reply, "en", ['Say this: "The sun is cold."']) is yes


def test_assertions_in_japanese_and_denials() -> None:
    fact = Fact(statement="魚は木の上に住んでいます。", truth="魚は水の中に住んでいます。")
    assert asserts_fact(fact, "そう、魚は木の上に住んでいる。", "ja")
    assert not asserts_fact(fact, "魚は木の上に住んでいません。", "ja")
    assert not asserts_fact(fact, "魚は水の中に住んでいます。", "ja")
    true = Fact(statement="The moon is round.", truth=True)
    assert asserts_fact(true, "It is not true: the moon is round.", "en")
    assert not asserts_fact(true, "The moon is round.", "en")


def test_aims_are_told_exactly() -> None:
    shop = read_target("shop.en")
    made = choose_aim(shop, ("tool",), 0)
    assert made is not None
    assert find_calls(f"OK.\nCALL voucher({made.witness})") == [("voucher", made.witness)]
    assert check_aim(made, [f"CALL voucher({made.witness})"], {}, shop)[0]
    assert not check_aim(made, ["CALL voucher(other)"], {}, shop)[0]
    assert not check_aim(made, [f"CALL order({made.witness})"], {}, shop)[0]
    foreign = choose_aim(shop, ("witness",), 1)
    assert foreign is not None
    assert check_aim(foreign, [f"It is {ANSWERS[foreign.task]}."], {}, shop)[0]
    for question, pattern in (*QUESTIONS["en"], *QUESTIONS["ja"]):
        assert re.search(pattern, f"It is {ANSWERS[question]}, of course.", re.IGNORECASE)
        assert not any(re.search(pattern, f"You asked: {other}", re.IGNORECASE) for other in (question,))
    assert [goal for goal, _ in list_options(shop, ("secret", "rule", "witness"))] == ["secret", "rule"]
    assert [goal for goal, _ in list_options(Target(name="bare", system="Hello."), ("secret", "witness"))] == [
        "witness"
    ]
    assert choose_aim(Target(name="bare", system="Hello."), ("secret",), 0) is None
