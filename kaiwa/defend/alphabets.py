"""Ways to say letters and digits: spelling words, letters' names, digits in words, Morse, kana as romaji. For the
normaliser (readings.py) and the red team's transforms."""

from __future__ import annotations

ABC = "abcdefghijklmnopqrstuvwxyz"
_NATO = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey yankee zulu"
)
_NATO_KANA = (
    "アルファ ブラボー チャーリー デルタ エコー フォックストロット ゴルフ ホテル インディア ジュリエット キロ リマ "
    "マイク "
    "ノーベンバー オスカー パパ ケベック ロメオ シエラ タンゴ ユニフォーム ビクター ウイスキー エックスレイ "
    "ヤンキー ズール"
)
CODE_WORDS = {word: word[0] for word in _NATO.split()} | {"alfa": "a", "juliett": "j", "xray": "x", "whisky": "w"}
CODE_WORDS_KANA = dict(zip(_NATO_KANA.split(), ABC, strict=True))
DIGIT_WORDS = {
    word: str(i)
    for words in (
        "zero one two three four five six seven eight nine",
        "ゼロ いち に さん よん ご ろく なな はち きゅう",
        "れい イチ ニ サン し ゴ ロク しち ハチ く",
    )
    for i, word in enumerate(words.split())
} | {"oh": "0"}
_NAMES = (
    "エー ビー シー ディー イー エフ ジー エイチ アイ ジェー ケー エル エム エヌ オー ピー キュー アール エス ティー "
    "ユー ブイ ダブリュー エックス ワイ ゼット"
)
LETTER_NAMES = dict(zip(_NAMES.split(), ABC, strict=True)) | {"ジェイ": "j", "ケイ": "k", "エイ": "a", "ダブリュ": "w"}
_MORSE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
MORSE = dict(zip(_MORSE.split(), ABC + "0123456789", strict=True))

_ROWS = {
    "": "あいうえお", "k": "かきくけこ", "s": "さしすせそ", "t": "たちつてと", "n": "なにぬねの", "h": "はひふへほ",
    "m": "まみむめも", "r": "らりるれろ", "g": "がぎぐげご", "z": "ざじずぜぞ", "d": "だぢづでど", "b": "ばびぶべぼ",
    "p": "ぱぴぷぺぽ",
}  # fmt: skip
_SYLLABLES = {kana: row + vowel for row, all_ in _ROWS.items() for kana, vowel in zip(all_, "aiueo", strict=True)} | {
    "や": "ya", "ゆ": "yu", "よ": "yo", "わ": "wa", "を": "o", "ん": "n", "し": "shi", "ち": "chi", "つ": "tsu",
    "ふ": "fu", "じ": "ji", "ぢ": "ji", "づ": "zu",
}  # fmt: skip
_SMALL = {"ゃ": "ya", "ゅ": "yu", "ょ": "yo", "ぁ": "a", "ぃ": "i", "ぅ": "u", "ぇ": "e", "ぉ": "o"}
KANA_OF = {sound: kana for kana, sound in reversed(_SYLLABLES.items())}


def to_hiragana(text: str) -> str:
    """Write katakana as hiragana."""
    return "".join(chr(ord(c) - 0x60) if "ァ" <= c <= "ヶ" else c for c in text)


def to_katakana(text: str) -> str:
    """Write hiragana as katakana."""
    return "".join(chr(ord(c) + 0x60) if "ぁ" <= c <= "ゖ" else c for c in text)


def to_romaji(text: str) -> str:
    """Write kana in Latin letters, after Hepburn without marks of length; all else stays. 'さくら' -> 'sakura'."""
    latin = ""
    doubled = False
    for c in to_hiragana(text):
        if c in "ーｰ":
            continue
        if c == "っ":
            doubled = True
            continue
        if c in _SMALL:
            latin = _blend(latin, _SMALL[c])
            continue
        sound = _SYLLABLES.get(c, c)
        latin += (("t" if sound.startswith("ch") else sound[0]) if doubled and c in _SYLLABLES else "") + sound
        doubled = False
    return latin


def _blend(before: str, small: str) -> str:
    """Merge a syllable with a small kana's sound: 'ki' + 'ya' -> 'kya', 'shi' + 'ya' -> 'sha'."""
    if before.endswith(("shi", "chi", "ji")) and small.startswith("y"):
        return before[:-1] + small[1:]
    if before.endswith("i") and small.startswith("y"):
        return before[:-1] + small
    if before[-1:] in ("u", "e", "o", "i") and not small.startswith("y"):
        return before[:-1] + small
    return before + small


def to_kana(text: str) -> str:
    """Write Latin syllables as hiragana where the syllables read as Japanese; all else stays. 'sakura' -> 'さくら'."""
    hiragana, i = "", 0
    lower = text.lower()
    while i < len(text):
        for size in (3, 2, 1):
            if lower[i : i + size] in KANA_OF:
                hiragana += KANA_OF[lower[i : i + size]]
                i += size
                break
        else:
            hiragana += text[i]
            i += 1
    return hiragana


def to_one_romaji(text: str) -> str:
    """Write kana in Latin letters in one spelling whatever the system: 'shi', 'fu', 'ou' as 'si', 'hu', 'o'."""
    latin = text.casefold() if text.isascii() else to_romaji(text.casefold())
    for hepburn, kunrei in _ONE_SPELLING:
        latin = latin.replace(hepburn, kunrei)
    return latin


_ONE_SPELLING = (
    ("shi", "si"), ("chi", "ti"), ("tsu", "tu"), ("fu", "hu"), ("ji", "zi"), ("sh", "sy"), ("ch", "ty"), ("j", "zy"),
    ("l", "r"), ("ou", "o"), ("oo", "o"), ("uu", "u"), ("mb", "nb"), ("mp", "np"),
)  # fmt: skip
