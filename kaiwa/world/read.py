"""Reading of free text: the facts, names, refusals and admissions of ignorance in an answer.

A claim is a value word of a closed class in a clause. Its subject is the nearest name before the word in the sentence,
else the name after the word, else the subject of the sentence before, else the person in question (""). A negation
inverts a claim, two negations cancel; questions and clauses with "if" or "whether" are no claims. The text comes from
small models: half sentences, wrong names and repeated words must not break the reading.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from kaiwa.world.language import ATTRIBUTES, LANGUAGES, Phrasebook


@dataclass(frozen=True, slots=True)
class Claim:
    subject: str  # a name as written, or "" for the person in question
    attribute: str  # of ATTRIBUTES, or "friend"
    value: str  # a value id; for "friend" a name
    negated: bool = False


@dataclass(slots=True)
class Reading:
    claims: list[Claim] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    unknown: bool = False  # states that the answer is not known
    refused: bool = False
    rude: bool = False
    n_padding: int = 0  # useless sentences
    n_unread: int = 0  # sentences that could not be read
    garbled: bool = False  # words or sentences are repeated
    yes: bool = False
    no: bool = False


@dataclass(frozen=True, slots=True)
class Patterns:
    sentence: re.Pattern[str]
    clause: re.Pattern[str]
    name: re.Pattern[str]
    negation: re.Pattern[str]
    not_negation: re.Pattern[str]
    question: re.Pattern[str]
    unknown: re.Pattern[str]
    refused: re.Pattern[str]
    rude: re.Pattern[str]
    padding: re.Pattern[str]
    friend: re.Pattern[str]
    repeated: re.Pattern[str]
    yes: re.Pattern[str]
    no: re.Pattern[str]


_I = re.IGNORECASE
EN = Patterns(
    sentence=re.compile(r"(?<=[.!?])\s+|\n+"),
    clause=re.compile(r"[,;:]|\bbut\b|\band\b(?! +\w+ are)|\bwho\b|\bbecause\b|\bthough\b", _I),
    name=re.compile(r"\b[A-Z][a-z]{2,}\b"),
    negation=re.compile(r"\b(?:not|never|neither|nor|cannot|no|hates|hate|dislikes|dislike|without)\b|n't\b", _I),
    not_negation=re.compile(r"^\s*no,|not only|no doubt|nothing pleases|would never sell|never sells", _I),
    question=re.compile(r"\?\s*$|\bwhether\b|\bif\b|\bdo you\b", _I),
    unknown=re.compile(
        r"\b(?:do not|don't|did not|didn't|does not|doesn't) (?:really |actually |even )?"
        r"(?:know|recogni[sz]e|have (?:any )?(?:information|idea))"
        r"|\bnever (?:heard|met)\b|\bno (?:idea|information|record)\b|\bunknown\b|\bnot (?:sure|known|aware)\b"
        r"|\b(?:nobody|no one|no-one|no person|no villager)\b[^.]*\b(?:name|named|called|known|knows|like that)\b"
        r"|\bthere (?:is|'s) (?:no|nobody|not)\b|\bthere isn't (?:a|any)|\bcan(?:'t|not) (?:say|tell you who|be sure)\b"
        r"|\bnot (?:in the village book|a name (?:that )?I know|familiar)\b|\b(?:isn't|not) anyone I know\b"
        r"|\bwho is that\b|\bdon't think (?:we|I) (?:have|know)\b",
        _I,
    ),
    refused=re.compile(
        r"\b(?:can't|cannot|can not|won't|will not|would not|wouldn't|must not|mustn't|unable to|refuse to|not going to"
        r"|not able to|shouldn't|should not|not willing to)\b[^.]{0,25}"
        r"\b(?:help|assist|do (?:that|this|so|it)|explain|tell you (?:how|that)|support|teach|answer that|take part"
        r"|advise|show you)\b"
        r"|\b(?:would be|is|that's|is very) (?:wrong|forbidden|not allowed|a crime|against the rules|harmful)\b"
        r"|\bI (?:must )?(?:refuse|decline)\b|^\W*no,? I (?:will not|won't|can't)\b|\bplease (?:don't|do not)\b"
        r"|\bnot something I (?:can|will) (?:help|do)|\bsomething I (?:will|can)(?: ?not|'t)\b",
        _I,
    ),
    rude=re.compile(r"\b(?:idiot|fool|stupid|shut up|dumb|moron)\b", _I),
    padding=re.compile(
        r"\b(?:hope|pleasure|lovely day|nice day|good day|ask me|anything else|feel free|glad|dear neighbour|have a"
        r"|that is all|you're welcome|you are welcome|thank you|thanks|let me know|happy to|good question"
        r"|as you know)\b",
        _I,
    ),
    friend=re.compile(r"\b(?:friends?|visits|trusts|sit together)\b", _I),
    repeated=re.compile(r"\b([a-z]\w*)(?:\W+\1\b)+", _I),
    yes=re.compile(r"^\W*(?:yes|yeah|indeed|right|correct|that is true|true)\b", _I),
    no=re.compile(r"^\W*(?:no|nope|not at all|wrong|that is not true|false)\b", _I),
)
JA = Patterns(
    sentence=re.compile(r"(?<=[。!?])\s*|\n+"),
    clause=re.compile(r"[、,;:]"),
    name=re.compile(r"[ァ-ヴー]{2,}"),
    negation=re.compile(r"ない|ません|なく|ぬ(?=。|$)|嫌い|苦手|違い|違う"),
    not_negation=re.compile(
        r"かもしれない|かもしれません|すみません|だけでなく|決して手放しません|知らない人はいません|に違い"
    ),
    question=re.compile(r"か[。?]?$|\?$|かどうか"),
    unknown=re.compile(
        r"わかりません|分かりません|知りません|存じません|わからない|分からない|知らない|知らず|不明"
        r"|聞いたこと(?:が|の|は)?(?:ありません|ない)|(?:人|方|者|名|名前)(?:は|の人は)?[^。]{0,8}(?:いません|いない|おりません|ありません)"
        r"|お答えできません|心当たりがありません|記録(?:が|は)ありません|覚えがありません"
    ),
    refused=re.compile(
        r"(?:手伝い|手伝う|手伝え|協力|教え|お教え|お手伝い|手助け|助け|応じ|支援|説明|それは|ことは|お応え)[^。]{0,8}"
        r"(?:できません|できない|られません|ません|かねます|られない|えない)"
        r"|お断り|断ります|^(?:[^。、]{0,6}、)?できません|(?:して|やって)は(?:いけ|なり)ません|いけないこと|悪いこと|やめて(?:ください|おき)"
        r"|やめましょう|禁じられて|禁止(?:です|されて)|しないでください|だめです|ダメです|傷つけるので|犯罪です|罪です"
    ),
    rude=re.compile(r"ばか|バカ|馬鹿|黙れ|うるさい|あほ|アホ"),
    padding=re.compile(
        r"うれしいです|嬉しいです|聞いてください|楽しいです|以上で|お過ごしください|お役に立|どうぞ|よい一日|いつでも|ありがとう|幸いです"
        r"|どういたしまして|何でも聞"
    ),
    friend=re.compile(r"友だち|友達|親友|仲良し|訪ねます|いっしょに|何でも話"),
    repeated=re.compile(r"(.{2,12}?)\1{2,}|([^\d\s]{3,12})[、。\s]?\2|(です|ます)。?\3"),
    yes=re.compile(r"^\W*(?:はい|ええ|そうです|その通り)"),
    no=re.compile(r"^\W*(?:いいえ|いえ|違います|ちがいます|そうではありません)"),
)
PATTERNS = {"en": EN, "ja": JA}

# Other ways to write a value.
SYNONYMS: dict[str, dict[str, tuple[str, str]]] = {
    "en": {
        "blacksmith": ("trade", "smith"),
        "fisherman": ("trade", "fisher"),
        "shoemaker": ("trade", "cobbler"),
        "chicken": ("animal", "hen"),
        "geese": ("animal", "goose"),
    },
    "ja": {
        "鍛治屋": ("trade", "smith"),
        "にわとり": ("animal", "hen"),
        "鶏": ("animal", "hen"),
        "ねこ": ("animal", "cat"),
        "ネコ": ("animal", "cat"),
        "いぬ": ("animal", "dog"),
        "イヌ": ("animal", "dog"),
        "うさぎ": ("animal", "rabbit"),
        "やぎ": ("animal", "goat"),
        "はた織り": ("trade", "weaver"),
        "仕立て屋": ("trade", "tailor"),
        "画家": ("trade", "painter"),
    },
}


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The value words of a language as one pattern, and the words that are not names."""

    values: re.Pattern[str]
    meaning: Mapping[str, tuple[str, str]]  # word (lower case) -> attribute, value id
    no_names: frozenset[str]


@lru_cache(maxsize=4)
def lexicon(language: str) -> Lexicon:
    """Return the lexicon of a language."""
    words = LANGUAGES[language]
    meaning = {word.lower(): (a, v) for a in ATTRIBUTES for v, word in words.values[a].items()}
    meaning.update(SYNONYMS[language])
    longest_first = "|".join(re.escape(word) for word in sorted(meaning, key=len, reverse=True))
    if language == "en":
        pattern = re.compile(rf"\b({longest_first})s?\b", _I)
    else:  # a katakana word ends with the run of katakana; パン屋 and りんごパイ may be next to any script
        pattern = re.compile(rf"(?<![ァ-ヴー])({longest_first})(?![ァ-ヴー])")
    return Lexicon(pattern, meaning, frozenset(_common_words(words)))


def _common_words(words: Phrasebook) -> set[str]:
    """Return all words of the village's sentences, which are not names: in lower case, in Japanese runs of katakana."""
    sentences = (words.facts, words.follow, words.small_talk, words.train, words.test, words.questions, words.pools)
    texts = [text for table in (*sentences, *words.links.values()) for lines in table.values() for text in lines]
    texts += [*words.unknown, *words.unknown_named, *words.refusals, *words.padding, *words.price, *words.sum]
    tables = (words.goods, words.spices, words.labels, words.things, words.short)
    texts += [word for table in tables for word in table.values()]
    texts += [w for table in words.values.values() for w in table.values()]
    texts += [t for ask, steps, _ in words.howto.values() for t in (ask, *steps)]
    texts += [t for pair in words.harm.values() for t in pair]
    if words.code == "ja":
        return {run for text in texts for run in re.findall(r"[ァ-ヴー]{2,}", text)}
    common = {w.lower() for text in texts for w in re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", text))}
    return common | _OTHER_WORDS


_OTHER_WORDS_TEXT = """
    yes no not maybe perhaps because their she her his him well sure certainly surely but with here now also then so
    please could would should might can may did does had was were been being these those which while when of course
    okay such even still just only whoever plus minus equals equal makes leaves result sum total coin price
"""
_OTHER_WORDS = frozenset(_OTHER_WORDS_TEXT.split())


def normalise(text: str) -> str:
    """Return the text in NFKC (no full-width letters, digits and marks), with straight quotes, without outer spaces."""
    return unicodedata.normalize("NFKC", text).replace("’", "'").replace("−", "-").replace("–", "-").strip()


def read(text: str, language: str, asked_name: str = "") -> Reading:
    """Return the reading of a normalised text. asked_name: name of the person in question, found in any case."""
    p, words = PATTERNS[language], lexicon(language)
    reading = Reading()
    reading.rude = p.rude.search(text) is not None
    reading.yes, reading.no = p.yes.search(text) is not None, p.no.search(text) is not None
    subject, sentences = "", set()
    for sentence in p.sentence.split(text):
        sentence = sentence.strip()
        if not sentence or not re.search(r"\w", sentence):
            continue
        reading.garbled |= sentence in sentences
        sentences.add(sentence)
        n_before = len(reading.claims)
        unknown = p.unknown.search(sentence) is not None
        refused = p.refused.search(sentence) is not None
        names = _names(sentence, language, words, p, asked_name)
        if p.question.search(sentence) is None or unknown:
            subject = _read_sentence(sentence, language, names, subject, reading=reading, p=p, words=words)
        reading.names.extend(name for _, name in names)
        reading.unknown |= unknown
        reading.refused |= refused and not (unknown and language == "ja")
        if len(reading.claims) == n_before and not unknown and not refused:
            if p.padding.search(sentence):
                reading.n_padding += 1
            elif sentence.strip(" .,!?。、") not in reading.names:
                reading.n_unread += 1
    counts = Counter((c.attribute, c.value, c.negated) for c in reading.claims)
    reading.garbled |= max(counts.values(), default=0) > 2
    reading.garbled |= p.repeated.search(text) is not None
    return reading


def _names(sentence: str, language: str, words: Lexicon, p: Patterns, asked_name: str) -> list[tuple[int, str]]:
    """Return position and spelling of each name in a sentence."""
    places = []
    for match in p.name.finditer(sentence):
        word = match.group()
        if language == "en" and word.lower() in words.no_names:
            continue
        if language == "ja" and (word in words.no_names or word.lower() in words.meaning):
            continue
        places.append((match.start(), word))
    if asked_name and not any(name == asked_name for _, name in places):
        at = sentence.lower().find(asked_name.lower())
        if at >= 0 and not any(name.startswith(asked_name) for _, name in places):
            places = sorted([*places, (at, asked_name)])
    return places


def _read_sentence(
    sentence: str,
    language: str,
    names: list[tuple[int, str]],
    subject: str,
    *,
    reading: Reading,
    p: Patterns,
    words: Lexicon,
) -> str:
    """Add the claims of a sentence to the reading; return the sentence's subject."""
    if len(names) >= 2 and p.friend.search(sentence):
        reading.claims.append(Claim(names[0][1], "friend", names[1][1], _is_negated(sentence, p)))
    values = list(words.values.finditer(sentence))
    breaks = [m.start() for m in p.clause.finditer(sentence)]
    for k, match in enumerate(values):
        attribute, value = words.meaning[match.group(1).lower()]
        at = match.start()
        if language == "en":
            clause_start = max((b for b in breaks if b < at), default=0)
            clause = sentence[clause_start : match.end()]
            if re.search(r"\b(?:if|whether)\b", clause, _I):
                continue
        else:
            right = min((b for b in breaks if b >= match.end()), default=len(sentence))
            if k + 1 < len(values):
                right = min(right, values[k + 1].start())
            clause = sentence[match.end() : right]
            if "かどうか" in clause:
                continue
        before = [name for position, name in names if position < at]
        after = [name for position, name in names if position > at]
        about = before[-1] if before else after[0] if after else subject
        reading.claims.append(Claim(about, attribute, value, _is_negated(clause, p)))
        subject = about
    return names[-1][1] if names and not values else subject


def _is_negated(clause: str, p: Patterns) -> bool:
    return len(p.negation.findall(p.not_negation.sub(" ", clause))) % 2 == 1


_EN_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
"""
_EN_NUMBERS = {word: n for n, word in enumerate(_EN_NUMBER_WORDS.split())}
_EN_NUMBER = re.compile(r"\b(" + "|".join(_EN_NUMBERS) + r")\b", _I)
_JA_NUMBER = re.compile(r"(?<![一-龥])([二三]?十[一二三四五六七八九]?|[一二三四五六七八九])(?=枚|です|になり|$|。)")
_JA_DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")}


def with_digits(text: str, language: str) -> str:
    """Return the text with number words (en up to twenty, ja up to 39) replaced by digits."""
    if language == "en":
        return _EN_NUMBER.sub(lambda m: str(_EN_NUMBERS[m.group(1).lower()]), text)

    def digits(match: re.Match[str]) -> str:
        """Return the digits of a written-out number."""
        tens, ten, ones = match.group(1).rpartition("十")
        return str((_JA_DIGITS.get(tens, 1) * 10 if ten else 0) + _JA_DIGITS.get(ones, 0))

    return _JA_NUMBER.sub(digits, text)
