r"""The part of a reply that states the answer: thoughts and run-on cut off, marks recognised, refusals named.

In order, the same for every arm, whether the reply puts a mark or the prompt already did:

    thoughts   <think> … </think> and the like are no answer; a thought that never ends leaves nothing to read
    run-on     what follows a new "Question:" belongs to a question that nobody asked
    box        the last \boxed{…}, <answer>…</answer>, {"answer": …}, or the first "#### 72"
    mark       the text after the last "The answer is", "Answer:", 答えは, 答え: with something readable behind it
    no mark    the whole text

NFKC makes full-width signs plain; fractions (½) and powers (²) are written out before, or 5½ would become 51/2.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

LONGEST = 20_000  # characters of a reply that are read: a fifth of them its beginning, the rest its end
STATEMENT = 1_000  # characters after a mark
TRIES = 8  # marks that are tried, from the last
THOUGHTS = re.compile(
    r"<(think|thinking|thought|reasoning|reflection|scratchpad)>.*?(?:</\1>|\Z)"
    r"|\[THINK\].*?(?:\[/THINK\]|\Z)"
    r"|<\|channel\|>(?:analysis|commentary).*?(?:<\|end\|>|<\|channel\|>final|\Z)"
    r"|◁think▷.*?(?:◁/think▷|\Z)",
    re.DOTALL | re.IGNORECASE,
)
THOUGHT_END = re.compile(
    r"\A.*(?:</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>)", re.DOTALL | re.I
)
NEXT_QUESTION = re.compile(
    r"\n\s*(?:[#*]+\s*)?(?:Q|Question|Problem|Input|Human|User|質問|問題|問|入力|ユーザー)(?:\s*\d+)?\s*[*]*[:：]",
    re.IGNORECASE,
)
_SUBJECT = (
    r"(?:(?:final|correct|right|best|most\s+likely|most\s+appropriate)\s+)*"
    r"(?:answer|choice|option|label)(?:\s+(?:to|for)\s+[^.\n:]{1,60}?)?"
)
_SUBJECT_JA = r"(?:最終的?な?|正しい|最も適切な)?(?:答え|こたえ|答|回答|解答|正解|正答|選択肢|結論)"
_NOTE = r"(?:\s*\([^)\n]*\))?[*_`]*\s*"
MARK = re.compile(
    rf"{_SUBJECT}{_NOTE}(?:(?:is|was|would\s+be|should\s+be|must\s+be|will\s+be)\b\s*[*_]*\s*(?:[:：]|(?:option|choice)\b)?|[:：=]|→)"
    rf"|{_SUBJECT_JA}{_NOTE}(?:は[、,]?\s*[:：]?|が|[:：=]|→)"
    r"|\bI\s+(?:would\s+|will\s+|'d\s+|'ll\s+)?(?:choose|pick|select|say|go\s+with|answer(?:\s+with)?)\b\s*[:：]?"
    r"|^\s*[#*]+\s*(?:final\s+|最終)?(?:answer|答え|解答|回答|結論)\s*[*:：]*\s*$"
    r"|(?:Antwort|Réponse|Respuesta|Resposta|Risposta|答案|정답|답|Ответ)\s*(?:ist|est|es|是|은|는)?\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
TAGGED = re.compile(r"<(?:answer|final_answer|final|答え|回答)>(.*?)(?:</|\Z)", re.DOTALL | re.IGNORECASE)
IN_JSON = re.compile(
    r'"(?:final_?answer|answer|choice|label|result|答え|回答)"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\s]+)', re.I
)
HASHES = re.compile(r"^####[ \t]*([^\n]*\d[^\n]*)$", re.MULTILINE)
REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i\s+am)\s+(?:very\s+|really\s+|so\s+)?(?:sorry|afraid)\b|sorry\b|i\s+apologi[sz]e\b|as\s+an\s+ai\b"
    r"|(?:unfortunately,?\s+)?i\s+(?:can(?:no|['’])t|cannot|could\s+not|couldn['’]t|do\s+not|don['’]t|am\s+not\s+able|am\s+unable)"
    r"(?:\s+to)?\s+(?:answer|help|assist|determine|tell|say|provide|know|comply|do\s+that|give|have\s+enough|find|solve|see)\b"
    r"|i\s+have\s+no\s+idea\b|(?:it\s+is\s+|it['’]s\s+)?(?:impossible|not\s+possible)\s+to\s+(?:answer|determine|say|tell|know)\b"
    r"|(?:there\s+is\s+)?(?:not\s+enough|insufficient)\s+information\b|none\s+of\s+the\s+(?:above|options|choices)\b"
    r"|申し訳|すみません|ごめんなさい|恐れ入りますが|残念ながら"
    r"|[^。\n]{0,30}?(?:お答え|回答|答えること|お手伝い|判断|特定|判定)(?:する)?(?:こと)?(?:は|が)?(?:でき(?:ません|ない|かねます)|不可能)"
    r"|(?:答えは)?[^。\n]{0,10}?(?:わか|分か)(?:りません|らない)|該当なし|情報が(?:不足|足り))",
    re.IGNORECASE,
)
_POWERS = {ord(c): d for c, d in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)}
_SPACES = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")


def plain_text(text: str) -> str:
    """Return the text in NFKC, with fractions written 1/2, powers ^2, and separators between digits as commas."""
    text = _SPACES.sub(",", text)
    text = re.sub(r"(?<=[\d\w)])[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: "^" + m[0].translate(_POWERS), text)
    text = re.sub(r"[¼½¾⅐-⅞]", lambda m: f" {unicodedata.normalize('NFKC', m[0])}", text)
    return unicodedata.normalize("NFKC", text).replace("⁄", "/").replace("−", "-").replace("\u2212", "-")


def without_thoughts(text: str) -> str:
    """Return a reply without the model's thoughts; "" where nothing but a thought was written."""
    return THOUGHT_END.sub("", THOUGHTS.sub("", text)).strip()


def first_answer(text: str) -> str:
    """Return the text up to the next question that the model asks itself."""
    cut = NEXT_QUESTION.search(text, 1)
    while cut is not None and not text[: cut.start()].strip():
        cut = NEXT_QUESTION.search(text, cut.end())
    return text[: cut.start()] if cut is not None and text[: cut.start()].strip() else text


def is_refusal(text: str) -> bool:
    """Return whether a reply begins by saying that there is no answer."""
    return REFUSAL.match(text) is not None


class AnswerRule(Protocol):
    """Reads an answer from text. stated: the text follows a mark, so it states the answer. cut: its end is missing."""

    def __call__(self, text: str, stated: bool = False, cut: bool = False) -> str | None: ...


def read_reply(reply: str, read: AnswerRule, cut: bool = False) -> str | None:
    """Read the answer of a reply. cut: the reply ended at the limit of tokens, so its conclusion is missing.

    None: nothing to read, which is also what a refusal is.
    """
    text = without_thoughts(reply)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 5]}\n{text[-LONGEST * 4 // 5 :]}"
    whole = plain_text(text)
    text = first_answer(whole)
    cut = cut and text == whole
    tagged = [*TAGGED.findall(text), *(value.strip('"') for value in IN_JSON.findall(text))]
    ends = [match.end() for match in MARK.finditer(text)]
    stated = [*reversed(_boxes(text)[-TRIES:]), *reversed(tagged[-TRIES:]), *HASHES.findall(text)[:1]]
    stated += [text[end : end + STATEMENT].lstrip(" \t*_`:\n\r>") for end in reversed(ends[-TRIES:])]
    for statement in stated:
        if not is_refusal(statement) and (answer := read(statement[:STATEMENT], True)) is not None:
            return answer
    refused = is_refusal(text)
    return None if refused else read(MARK.sub(" ", text), False, cut)


def no_answer_name(reply: str, finish_reason: str) -> str:
    """Name why a reply holds no answer: refused, empty, only thoughts, cut at the limit, or unreadable."""
    text = without_thoughts(reply)
    if finish_reason == "refusal" or is_refusal(plain_text(text)):
        return "refused"
    if not text:
        return "only thoughts" if reply.strip() else "cut at the limit" if finish_reason == "length" else "empty"
    return "cut at the limit" if finish_reason == "length" else "unreadable"


def _boxes(text: str) -> list[str]:
    r"""Return the contents of \boxed{…}, braces matched."""
    contents = []
    end = 0
    for opening in BOX.finditer(text):
        if opening.start() < end:
            continue  # inside the last one
        depth, end = 1, opening.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        contents.append(text[opening.end() : end - (depth == 0)])
    return contents
