"""Pre-tokenizers by their names in GGUF files (tokenizer.ggml.pre): how a text is cut before byte-level BPE.

A GGUF file has only the name; the cuts are those of the models' tokenizer.json. Each pattern cuts every piece that the
patterns before it left; what lies between matches is a piece too.
"""

from __future__ import annotations

from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # contractions
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPACES_AND_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
HEAD = r"[^\r\n\p{L}\p{N}]?"
DIGIT = r"\p{N}"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = rf"{ENGLISH}|{HEAD}\p{{L}}+|\p{{N}}|{REST}"
LLAMA3 = rf"{ENGLISH}|{HEAD}\p{{L}}+|\p{{N}}{{1,3}}|{REST}"
CHINESE = "[一-龥ࠀ-一가-퟿]+"
LATIN_GREEK_CYRILLIC = (  # letters that a normal form would replace stand as \x{...}
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-"
    r"\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ"
    r"Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Names that cut alike -> the patterns.
CUTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe", "exaone4", "jina-v2-code"): (GPT2,),
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"): (DIGIT, GPT2),
    ("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"): (QWEN2,),
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "smaug-bpe", "dbrx"): (LLAMA3,),
    ("chatglm-bpe", "glm4"): (LLAMA3,),
    ("tekken",): (rf"{HEAD}{UPPER}*{LOWER}+|{HEAD}{UPPER}+{LOWER}*|\p{{N}}|{SPACES_AND_SLASHES}",),
    ("gpt-4o", "llama4"): (
        rf"{HEAD}{UPPER}*{LOWER}+{ENGLISH}?|{HEAD}{UPPER}+{LOWER}*{ENGLISH}?|\p{{N}}{{1,3}}|{SPACES_AND_SLASHES}",
    ),
    ("deepseek-llm",): ("[\r\n]", LATIN_GREEK_CYRILLIC, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CHINESE, r"\p{N}+"),
    ("deepseek-coder",): ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE, DIGIT),
    ("deepseek-v3",): (r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3),
    ("falcon",): (r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"),
    ("default",): (r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    ("bloom", "poro-chat", "gpt3-finnish"): (r" ?[^(\s|.,!?…。，、।۔،)]+",),
    ("viking",): (r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"),
}
PATTERNS = {name: patterns for names, patterns in CUTS.items() for name in names}
# A piece that is a token as it stands is that token, whatever the merges would give.
WHOLE_PIECES = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "tekken"}


def pre_tokenizer(pre: str) -> Any:
    """Return the pre-tokenizer for a name used in GGUF files, or for a regex (a text with a backslash or bracket).

    UserError for an unknown name.
    """
    from tokenizers import Regex, pre_tokenizers

    patterns = PATTERNS.get(pre)
    if patterns is None:
        if not any(c in pre for c in "\\["):
            raise UserError(f"pre-tokenizer {pre[:60]!r} is unknown{did_you_mean(pre, PATTERNS)}")
        patterns = (pre,)
    cuts: list[Any] = [
        pre_tokenizers.Digits(individual_digits=True)
        if pattern == DIGIT
        else pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        for pattern in patterns
    ]
    has_gpt2 = patterns[-1] == GPT2  # ByteLevel's own pattern, as tokenizer.json has it
    cuts[len(cuts) - has_gpt2 :] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=has_gpt2)]
    return cuts[0] if len(cuts) == 1 else pre_tokenizers.Sequence(cuts)
