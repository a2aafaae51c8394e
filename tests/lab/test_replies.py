"""Replies as models write them, with what is right: one rule for every arm, whether or not it puts a mark."""

import time

import pytest

from kaiwa.lab.tasks.extract import extract

LETTERS, SIGNS, YES_NO, HAI = ("A", "B", "C", "D"), ("positive", "negative"), ("yes", "no"), ("はい", "いいえ")
TEN = tuple("ABCDEFGHIJ")
CASES = [
    ("choice", "The answer is B. Note that A is a common distractor.", LETTERS, "B"),
    ("choice", "ANSWER IS D. A is incorrect.", LETTERS, "D"),
    ("choice", "The answer is C because I computed the integral.", TEN, "C"),
    ("choice", "Answer: I think it is C", TEN, "C"),
    ("choice", "ANSWER: None of the above", LETTERS, None),
    ("choice", "ANSWER: Don't know", LETTERS, None),
    ("choice", "ANSWER: I don't know", tuple("ABCDEFGHI"), None),
    ("choice", "Answer: It is not B, the answer is D", LETTERS, "D"),
    ("choice", "Answer: rules out C, leaving D", LETTERS, "D"),
    ("choice", "Antwort:\n\nAntwort: C", LETTERS, "C"),
    ("choice", "d", LETTERS, "D"),
    ("choice", "b. 4", LETTERS, "B"),
    ("choice", "(b)", LETTERS, "B"),
    ("choice", "I would pick B — a safe choice.", LETTERS, "B"),
    ("choice", "\\boxed{B}", LETTERS, "B"),
    ("choice", "\\boxed{\\text{B}}", LETTERS, "B"),
    ("choice", "The correct option is **C) Paris**.", LETTERS, "C"),
    ("choice", "A car is fast, so the answer is C.", LETTERS, "C"),
    ("choice", "A", LETTERS, "A"),
    ("choice", "A.", LETTERS, "A"),
    ("choice", "A because it is fast.", LETTERS, "A"),
    ("choice", "<answer>B</answer>", LETTERS, "B"),
    ("choice", '{"answer": "C", "why": "A is too small"}', LETTERS, "C"),
    ("choice", "Option B is wrong. Option A is wrong too. Option D fits.", LETTERS, "D"),
    ("choice", "B and C are both wrong, D is too small, so A is correct.", LETTERS, "A"),
    ("choice", "正解はBです。Aは誤りです。", LETTERS, "B"),
    ("choice", "Bが正しい。", LETTERS, "B"),
    ("choice", "Ａ", LETTERS, "A"),
    ("choice", "選択肢Cを選びます。", LETTERS, "C"),
    ("choice", "positive or negative", SIGNS, None),
    ("choice", "Not positive.", SIGNS, "negative"),
    ("choice", "It isn't positive, it's negative.", SIGNS, "negative"),
    ("choice", "The review is more positive than negative.", SIGNS, "positive"),
    ("choice", "Negative. The positive parts are few.", SIGNS, "negative"),
    ("choice", "Sentiment: POSITIVE", SIGNS, "positive"),
    ("choice", "The sentiment is neither positive nor negative.", SIGNS, None),
    ("choice", "I'm sorry, but I can't decide between positive and negative.", SIGNS, None),
    ("choice", "No, there is evidence.", YES_NO, "no"),
    ("choice", "There is no evidence.", YES_NO, None),
    ("choice", "YES!", YES_NO, "yes"),
    ("choice", "Yes and no.", YES_NO, None),
    ("choice", "No\n\nIn range of a signal", YES_NO, "no"),
    ("choice", "The answer is no.", YES_NO, "no"),
    ("choice", "はい、そうです。", HAI, "はい"),
    ("choice", "答えは「いいえ」です。", HAI, "いいえ"),
    ("choice", "「はい」ではなく「いいえ」です。", HAI, "いいえ"),
    ("choice", "申し訳ありませんが、はいともいいえとも言えません。", HAI, None),
    ("choice", "窓際は明るいので、屋外ではなく窓際です。", ("屋外", "窓際", "地下"), "窓際"),
    ("choice", "<think>A? B?", LETTERS, None),
    ("choice", "so it's B?\n</think>\n\nC", LETTERS, "C"),
    (
        "choice",
        "<|channel|>analysis<|message|>A maybe<|end|><|start|>assistant<|channel|>final<|message|>B",
        LETTERS,
        "B",
    ),
    ("choice", "2", ("1", "2", "3"), "2"),
    ("choice", "選択肢2です。1は違います。", ("1", "2", "3"), "2"),
    ("choice", "②", ("1", "2", "3"), "2"),
    ("number", "The total is 72 clips, altogether.", (), "72"),
    ("number", "...order is $29.00.", (), "29"),
    ("number", "#### 18\n\nQuestion: Tom has 3 apples.\nAnswer: 3\n#### 3", (), "18"),
    ("number", "The answer is 18.\n\nQ: What is 2+2?\nA: The answer is 4.", (), "18"),
    ("number", "\\boxed{\\text{The answer is 460}}", (), "460"),
    ("number", "\\boxed{\\frac{1}{2}}", (), "0.5"),
    ("number", "\\boxed{1,234.50}", (), "1234.5"),
    ("number", "The temperature is -3.", (), "-3"),
    ("number", "from 2 to −3", (), "-3"),
    ("number", "-$5", (), "-5"),
    ("number", "minus five", (), "-5"),
    ("number", "１２，３４５円", (), "12345"),
    ("number", "1兆", (), "1000000000000"),
    ("number", "3万5千", (), "35000"),
    ("number", "1.5万人", (), "15000"),
    ("number", "½", (), "0.5"),
    ("number", "5½", (), "5.5"),
    ("number", "1e3", (), "1000"),
    ("number", "3.2 × 10^4", (), "32000"),
    ("number", "10² = 100", (), "100"),
    ("number", "2.5 million", (), "2500000"),
    ("number", "fourteen", (), "14"),
    ("number", "one hundred and twenty-three", (), "123"),
    ("number", "50%", (), "50"),
    ("number", "５０％", (), "50"),
    ("number", "答えは十二です。", (), "12"),
    ("number", "答えは5ではなく6です。", (), "6"),
    ("number", "It is not 5 but 6.", (), "6"),
    ("number", "約2億3000万人", (), "230000000"),
    ("number", "百二十個", (), "120"),
    ("number", "十分に大きい", (), None),
    ("number", "1. Add 3 and 4\n2. That gives 7", (), "7"),
    ("number", "12 apples. I counted 3 boxes of 4.", (), "12"),
    ("number", "48 / 2 = 24 clips in May. 48 + 24 = 72 clips in all.", (), "72"),
    ("number", "She sold **72** clips in 2 months.", (), "72"),
    ("number", "I cannot answer question 3.", (), None),
    ("number", "分かりません。", (), None),
    ("number", "12:30", (), "30"),
    ("number", "The answer is unknown.", (), None),
    ("number", "# Answer\n\n42", (), "42"),
    ("number", "**Answer:** 42", (), "42"),
    ("number", "**Answer**: 42", (), "42"),
    ("number", "*Final Answer*: **1/3**", (), "0.3333333333333333"),
    ("number", "Answer: $\\frac{3}{4}$", (), "0.75"),
    ("number", "1 234 567", (), "1234567"),
    ("number", "answer: 3.14159", (), "3.14159"),
    ("number", "五つ", (), "5"),
    ("number", "ゼロ", (), "0"),
    ("number", "3分の2", (), "0.6666666666666666"),
    ("number", "1.234,56 €", (), "1234.56"),
    ("number", "7, no, 12", (), "12"),
    ("number", "The answer is 5 apples and 3 pears, which makes 8.", (), "8"),
    ("word", "Paris", (), "Paris"),
    ("word", "Paris.\n\nParis is the capital of France and has 2 million people.", (), "Paris"),
    ("word", "The capital is **Paris**.", (), "Paris"),
    ("word", "答えは『東京』です。", (), "東京"),
    ("word", "東京です。", (), "東京"),
    ("word", "I cannot answer that.", (), None),
    ("word", "The answer is “Mill Lane”.", (), "Mill Lane"),
    ("word", "The answer is St. Louis.", (), "St. Louis"),
    ("word", "Answer: Mill Lane (see above)", (), "Mill Lane (see above)"),
    ("word", "It's Paris.", (), "Paris"),
    ("word", "Final Answer\n\nParis", (), "Paris"),
    ("choice", "D. The car gains a speed of 70 kmph.", ("A", "B", "C", "D", "E"), "D"),
    ("choice", "Yes, some patients have no mental illness.", ("yes", "no"), "yes"),
    ("choice", "positive (not negative)", ("positive", "negative"), "positive"),
    ("choice", "屋外。窓際は暗いため。", ("屋外", "窓際", "地下"), "屋外"),
    ("word", "The answer is:\n\n**Paris**", (), "Paris"),
    ("word", "答えは『東京』です。", (), "東京"),
    ("choice", "<think>The answer is A? no wait</think>\nB", ("A", "B"), "B"),
    ("number", "答えは3万円です", (), "30000"),
    ("number", "2億3000万", (), "230000000"),
    ("number", "マイナス5", (), "-5"),
    ("number", "The probability is .5", (), "0.5"),
    ("number", "1/2", (), "0.5"),
    ("number", "2分の1", (), "0.5"),
    ("number", "\\boxed{1{,}234}", (), "1234"),
    ("number", "26 + 36 - 48 = 14. The answer (words) is fourteen.", (), "14"),
    ("number", "The answer is 5*5=25", (), "25"),
    ("number", "I cannot answer that.", (), None),
]


@pytest.mark.parametrize(("kind", "reply", "choices", "right"), CASES)
def test_a_reply_is_read_as_a_person_reads_it(
    kind: str, reply: str, choices: tuple[str, ...], right: str | None
) -> None:
    assert extract(kind, reply, choices) == right


FORMS = (
    "{a}", "{a}.", "The answer is {a}.", "Answer: {a}", "**{a}**", "答えは{a}です。", "「{a}」", "\\boxed{{{a}}}",
    "{a}\n\nBecause it fits.", "<think>perhaps 3 or no</think>\n{a}",
    "Let me think.\n\nThe answer is:\n\n**{a}**", "{a}です。",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_right_answer_survives_every_dress(form: str) -> None:
    for number in ("7", "-3", "0.5", "1234567", "12.25"):
        assert extract("number", form.format(a=number)) == number
    for choices in (LETTERS, SIGNS, YES_NO, HAI, ("屋外", "窓際", "地下")):
        for choice in choices:
            assert extract("choice", form.format(a=choice), choices) == choice
    for word in ("Paris", "東京", "Mill Lane"):
        assert extract("word", form.format(a=word)) == word


LONG = {
    "a": "a" * 2_000_000,
    "digits": "1" * 50000,
    "commas": "1," * 50000,
    "list": "A or " * 50000,
    "paren": "(" * 50000,
    "ans": "The answer is " * 20000,
    "spaces": "answer is" + " " * 100000,
    "boxes": "\\boxed{" * 20000,
    "q": "\nQ:" * 20000,
    "kanji": "万" * 50000,
    "not": "not " * 50000,
    "think": "<think>" * 20000,
    "stars": "*" * 100000,
    "words": "two hundred " * 20000,
    "plus": "1 + " * 20000,
    "json": '{"answer": ' * 10000,
    "nl": "\n" * 100000,
    "of": "answer to " + "x " * 50000,
    "dots": "1.1" * 20000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_no_reply_takes_long_to_read(text: str) -> None:
    began = time.monotonic()
    for kind in ("number", "choice", "word"):
        extract(kind, text, LETTERS)
    assert time.monotonic() - began < 5
