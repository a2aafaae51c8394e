"""IFEval's 25 instructions as exact checks of an answer (Zhou et al. 2023), for English and Japanese answers.

Written from the paper's descriptions. In Japanese every letter of the text counts as a word, 、 as a comma; 。！？
end sentences, and capitals are looked for in Latin letters. The language is told by script, and among languages in
Latin letters by their commonest words. Grading is "strict": the answer as it is, and every instruction must hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from kaiwa.core.errors import UserError

Check = Callable[[str, Mapping[str, Any], str], bool]  # answer, kwargs, prompt
JAPANESE = re.compile(r"[぀-ヿ一-鿿]")
SCRIPTS = {
    "ja": r"[぀-ヿ]", "ko": r"[가-힣]", "zh": r"[一-鿿]", "ru": r"[а-яё]", "uk": r"[іїєґ]", "bg": r"[а-я]",
    "ar": r"[؀-ۿ]",
    "fa": r"[پچژگ]", "ur": r"[ٹڈڑے]", "he": r"[א-ת]", "hi": r"[ऀ-ॿ]", "mr": r"[ऀ-ॿ]", "ne": r"[ऀ-ॿ]", "bn": r"[ঀ-৿]",
    "ta": r"[஀-௿]", "te": r"[ఀ-౿]", "kn": r"[ಀ-೿]", "ml": r"[ഀ-ൿ]", "gu": r"[઀-૿]", "pa": r"[਀-੿]", "th": r"[฀-๿]",
    "el": r"[α-ω]",
}  # fmt: skip
COMMON = {
    "en": "the and of to is in that it for you", "de": "der die und das ist nicht ein ich mit zu",
    "fr": "le la les et est une des que pour dans", "es": "el la los que de y en es una por",
    "pt": "o os que de e em é uma para não", "it": "il che di e è la per una non con",
    "nl": "de het een en van is dat niet op te",
    "fi": "ja on ei se että hän oli mutta ovat kun", "sv": "och att det som en är på för inte av",
    "vi": "và là của có không một người cho được các", "sw": "na ya wa kwa ni katika la za cha kuwa",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam", "tr": "ve bir bu için ile de çok ne gibi daha",
    "pl": "i w nie na się że to z do jest",
}  # fmt: skip


def words_of(text: str) -> list[str]:
    """Return the words; of Japanese every letter, digit and kana."""
    if JAPANESE.search(text):
        return re.findall(r"[A-Za-z0-9']+|[぀-ヿ一-鿿々ー]", text)
    return re.findall(r"[\w'-]+", text)


def sentences_of(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+", text) if part.strip()]


def related(count: int, number: Any, relation: str) -> bool:
    """Return whether a count is in the relation that IFEval names. UserError for another."""
    if relation not in ("at least", "less than"):
        raise UserError(f"relation {relation!r}; at least or less than")
    return count >= int(number) if relation == "at least" else count < int(number)


def _has(text: str, word: str) -> int:
    """Return how often a keyword is in a text: as a word, or as a stretch of Japanese."""
    pattern = re.escape(word) if JAPANESE.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)"
    return len(re.findall(pattern, text, re.IGNORECASE))


def _language(answer: str, language: str) -> bool:
    if language in SCRIPTS:
        if language == "zh" and re.search(SCRIPTS["ja"], answer):
            return False
        letters = re.findall(r"[^\W\d_]", answer.lower())
        hits = len(re.findall(SCRIPTS[language], answer.lower()))
        return hits > (0.05 if language in ("ja", "uk", "fa", "ur") else 0.5) * max(1, len(letters)) and bool(letters)
    if language not in COMMON:
        raise UserError(f"language {language!r} cannot be told here; {', '.join((*SCRIPTS, *COMMON))} can")
    tokens = re.findall(r"[^\W\d_]+", answer.lower())
    counts = {code: sum(token in common.split() for token in tokens) for code, common in COMMON.items()}
    return bool(tokens) and counts[language] == max(counts.values()) and counts[language] > 0


def _paragraphs(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", answer)
    inner = parts[1:] if parts and not parts[0].strip() else parts
    inner = inner[:-1] if inner and not inner[-1].strip() else inner
    return all(part.strip() for part in inner) and len(inner) == int(k["num_paragraphs"])


def _first_word(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    parts = [part for part in re.split(r"\n\n+", answer) if part.strip()]
    nth = int(k["nth_paragraph"])
    if len(parts) != int(k["num_paragraphs"]) or nth > len(parts):
        return False
    first = parts[nth - 1].strip().lstrip("\"'「『*").casefold()
    word = str(k["first_word"]).casefold()
    return first.startswith(word) and (bool(JAPANESE.search(word)) or not first[len(word) : len(word) + 1].isalnum())


def _postscript(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    marker = str(k["postscript_marker"])
    pattern = r"\s*".join(re.escape(c) for c in marker.replace(" ", ""))
    return re.search(rf"(?:^|\n)\s*{pattern}", answer, re.IGNORECASE) is not None


def _highlights(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    double = re.findall(r"\*\*[^\n*]+\*\*", answer)
    single = re.findall(r"(?<!\*)\*[^\n*]+\*(?!\*)", re.sub(r"\*\*[^\n*]+\*\*", "", answer))
    return len(double) + len(single) >= int(k["num_highlights"])


def _sections(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    mark = re.escape(str(k["section_spliter"]).strip())
    return len(re.findall(rf"\s?{mark}\s?(?:\d+|[一二三四五六七八九十]+)", answer)) >= int(k["num_sections"])


def _json(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", answer.strip(), flags=re.IGNORECASE)
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _two_responses(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    parts = [part.strip() for part in answer.split("******")]
    filled = [part for i, part in enumerate(parts) if part or 0 < i < len(parts) - 1]
    return len(filled) == 2 and all(filled) and filled[0] != filled[1]


def _constrained(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    options = ("My answer is yes.", "My answer is no.", "My answer is maybe.", "はい。", "いいえ。", "たぶん。")
    quoted = re.findall(r"「(私の答えは[^」]+)」", prompt)
    return any(option in answer for option in (*options[:3], *quoted)) or answer.strip() in options[3:]


def _letters(answer: str) -> list[str]:
    return re.findall(r"[A-Za-zÀ-ɏ]", answer)


def _upper(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    return bool(_letters(answer)) and not any(c.islower() for c in answer)


def _lower(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    return bool(_letters(answer)) and not any(c.isupper() for c in answer)


def _capital_words(answer: str, k: Mapping[str, Any], prompt: str) -> bool:
    count = sum(word.isupper() for word in re.findall(r"[A-Za-z][\w'-]*", answer))
    return related(count, k["capital_frequency"], k["capital_relation"])


CHECKS: Mapping[str, Check] = {
    "keywords:existence": lambda a, k, p: all(_has(a, word) for word in k["keywords"]),
    "keywords:frequency": lambda a, k, p: related(_has(a, k["keyword"]), k["frequency"], k["relation"]),
    "keywords:forbidden_words": lambda a, k, p: not any(_has(a, word) for word in k["forbidden_words"]),
    "keywords:letter_frequency": lambda a, k, p: related(
        a.casefold().count(str(k["letter"]).casefold()), k["let_frequency"], k["let_relation"]
    ),
    "language:response_language": lambda a, k, p: _language(a, k["language"]),
    "length_constraints:number_sentences": lambda a, k, p: related(
        len(sentences_of(a)), k["num_sentences"], k["relation"]
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda a, k, p: related(len(words_of(a)), k["num_words"], k["relation"]),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda a, k, p: (
        len(re.findall(r"\[[^\[\]]+\]|［[^［］]+］", a)) >= int(k["num_placeholders"])
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda a, k, p: (
        len(re.findall(r"(?m)^\s*(?:\*(?!\*)|-(?!-)|・|•)\s*\S", a)) == int(k["num_bullets"])
    ),
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": lambda a, k, p: re.search(r"<<[^\n<>]*\S[^\n<>]*>>|《[^\n]+》", a) is not None,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda a, k, p: (
        a.strip().casefold().startswith(str(k.get("prompt_to_repeat", p)).strip().casefold())
    ),
    "startend:end_checker": lambda a, k, p: (
        a.strip().strip('"').casefold().endswith(str(k["end_phrase"]).strip().casefold())
    ),
    "startend:quotation": lambda a, k, p: (
        len(a.strip()) > 1 and (a.strip()[0] + a.strip()[-1]) in ('""', "“”", "「」", "『』")
    ),
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _upper,
    "change_case:english_lowercase": _lower,
    "punctuation:no_comma": lambda a, k, p: not re.search("[,、，]", a),
}


def follows(answer: str, right: str) -> list[bool]:
    """Return, for each instruction of an item's answer (JSON: prompt and checks), whether the answer follows it.

    UserError for an instruction without one of its values.
    """
    value = json.loads(right)
    results = []
    for name, options in value["checks"]:
        try:
            results.append(bool(answer.strip()) and CHECKS[name](answer, options, value["prompt"]))
        except KeyError as error:
            raise UserError(f"{name}: its value {error} is missing in kwargs") from None
    return results
