"""Writes the tokenizer's goldens with Hugging Face's fast tokenizer (the `tokenizers` package; version noted inside).

    python test/golden/make_tokenizer.py

- unicode.json: what BertNormalizer and BertPreTokenizer make of every code point, as ranges.
- cased-vocab.txt: a small cased vocabulary, made here of the generated strings' own characters and syllables.
- tokenizer.json: ids and offsets of the generated strings, uncased (the embedded checkpoint's vocabulary) and cased.

With the path of another cased vocab.txt as argument, writes nothing but that vocabulary's goldens to standard output.
Offsets are in UTF-16 units, as JavaScript counts. Lone surrogates are left out: Python cannot encode them.
"""
import itertools, json, random, sys, unicodedata
from collections import Counter
from pathlib import Path
import tokenizers
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

HERE = Path(__file__).parent
CHECKPOINT = HERE.parent.parent / "weights" / "minilm-l6-qa"
STRINGS = 6000
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SURROGATES = range(0xD800, 0xE000)
CODE_POINTS = [c for c in range(0x110000) if c not in SURROGATES]


def ranges(code_points):
    """[[first, last], ...] of a sorted list."""
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def unicode_table():
    """For each setting: code points removed, made a space, made a word of their own; all others by their output."""
    table = {"tokenizers": tokenizers.__version__}
    settings = {"uncased": (True, True), "cased": (False, False), "lowercase": (True, False)}
    for name, (lowercase, strip) in settings.items():
        normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=lowercase, strip_accents=strip)
        removed, spaces, padded, other = [], [], [], {}
        for c in CODE_POINTS:
            got = normalizer.normalize_str(f"a{chr(c)}b")[1:-1]
            if got == chr(c) and c != 0x20:
                continue
            if got == "":
                removed.append(c)
            elif got == " ":
                spaces.append(c)
            elif got == f" {chr(c)} ":
                padded.append(c)
            else:
                other[f"{c:x}"] = got
        table[name] = {"removed": ranges(removed), "spaces": ranges(spaces), "padded": ranges(padded), "other": other}
    split = BertPreTokenizer().pre_tokenize_str
    table["punctuation"] = ranges([c for c in CODE_POINTS if len(split(f"a{chr(c)}b")) == 3])
    return table


ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digits": "0123456789",
    "ascii": "".join(map(chr, range(0x21, 0x7F))),
    "accented": "".join(map(chr, [*range(0xC0, 0x180), *range(0x1E00, 0x1F00)])),
    "greek": "".join(map(chr, range(0x370, 0x400))) + "Σς",
    "cyrillic": "".join(map(chr, range(0x400, 0x500))),
    "turkish": "İıŞşĞğÇçiI",
    "combining": "".join(map(chr, [*range(0x300, 0x370), 0x0591, 0x064B, 0x093C, 0x0E31, 0x20D0, 0x3099, 0xFE20])),
    "cjk": "一三上中人大学日本語東京漢字龍𠀀𪜀𫝀𫠠𬹐豈",
    "kana": "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), *range(0xFF66, 0xFF9E)])),
    "hangul": "가각한국어힣ㄱㅎ뷁",
    "arabic": "".join(map(chr, range(0x620, 0x650))),
    "hebrew": "אבגדהשׁשּׂ",
    "indic": "".join(map(chr, [*range(0x905, 0x94E), *range(0x995, 0x9A9), *range(0xB85, 0xBBA)])),
    "thai": "".join(map(chr, range(0xE01, 0xE3B))),
    "spaces": " \t\n\r\u00a0\u2002\u2003\u2009\u2028\u2029\u3000\u1680\u202f\u205f",
    "controls": "\u0000\u0001\u0007\u000b\u000c\u001f\u007f\u0085\u00ad\u200b\u200c\u200d\u200e\u202e\u2060\ufeff\ufffd\ue000",
    "punctuation": "“”‘’«»–—…·¿¡§¶†‡•‰′″‹›※、。「」！？，．：；（）～٪،؛؟।॥՚᙭𐄀",
    "symbols": "€£¥©®™°±×÷√∞≈≠≤≥→⇒∀∂∑αβ½¼²³ªºⅣⅷ①㊀",
    "emoji": "😀😂❤👍🎉💩👨👩👧🏳🌈⚽🇩🇪🧑🏽",
    "joiners": "\ufe0f\u200d🏻🏿",
    "later": "ᪿࣔ⹃⹝᷹𑅃𑑋𐗉𞤀\u0897\u1ac1\U00011F41\U0001E008",
}
WORDS = """the a of and in to was is for on that with from were they which embedding embeddings unaffable running
unbelievable quantization tokenization playing played player New York Times PolitiFact don't can't U.S. e.g. 3.14 1,000
2014 90% $5.00 foo_bar x=y http://example.org/a?b=c#d user@example.org C++ #1 naïve café résumé Zürich Ærøskøbing ǅ ﬁne
straße ΑΣΟΣ İstanbul Москва 東京都 北京 한국어 ไทย हिन्दी עברית العربية [CLS] [SEP] [MASK] [UNK] [PAD] [cls] [SEP
""".split()


def strings(seed=7):
    """`STRINGS` strings, each of a few runs of one alphabet or of words, with the awkward cases first."""
    rng = random.Random(seed)
    yield from ["", " ", "\n\n\n", "\u0000", "a", "A", "á", "a\u0301", "\u0301", "\u0301a", "e\u0301\u0323x", "ﬃ", "ß",
                "İ", "i\u0307", "ΑΣ", "ΑΣΑ", "Σ", "가", "각a", "[SEP]", "[SEP][SEP]", "a[SEP]b", " [MASK] .", "[[SEP]]",
                "[sep]", "[SEP", "a\u200db", "\u200d", "a\u00adb", "\ufeffstart", "x\ufffdy", "don't", "...", "a.b", "$5",
                "👨‍👩‍👧", "💩", "💩💩", "💩💩💩💩", "🇩🇪", "❤️", "中", "a中b", "中文", "豈", "\u2fa1d", "𠀀a", "🏻", "\U0001d15e",
                "\U0001d165\U0001d16e", "\u302e\u302fa", "\u037e", "\u1fef", "\u212b", "\u2126", "Å", "ǆ", "ŉ", "ẞ",
                "x" * 99, "x" * 100, "x" * 101, "é" * 100, "é" * 101, "💩" * 60, "𝒳" * 100, "𝒳" * 101, "가" * 34,
                "the " * 50, " the", "the ", "\tthe\n", "un##able", "##able", "a" * 100 + " " + "a" * 300]
    rng_cp = random.Random(seed + 1)
    for c in range(0, 0x3400, 7):  # each block, a character in a Latin word and one by itself
        yield f"ab{chr(c)}cd {chr(c)}"
    names = list(ALPHABETS)
    assigned = [c for c in CODE_POINTS if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")]
    while True:
        parts = []
        for _ in range(rng.randint(1, 8)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(WORDS))
            elif kind < 0.9:
                alphabet = ALPHABETS[rng.choice(names)]
                parts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 7))))
            elif kind < 0.97:
                parts.append("".join(chr(rng_cp.choice(assigned)) for _ in range(rng.randint(1, 4))))
            else:
                parts.append(rng.choice(WORDS) * rng.randint(2, 30))
            parts.append(rng.choice(["", " ", " ", " ", "  ", "\n", "\u0301", ", ", "\u00a0"]))
        yield "".join(parts)


def cased_vocab(texts):
    """Special tokens, the commonest characters with and without ##, and the commonest syllables of the strings."""
    chars, pieces = Counter(), Counter()
    for text in texts:
        for word, _ in BertPreTokenizer().pre_tokenize_str(text):
            chars.update(word)
            for n in (2, 3, 4):
                pieces.update(word[i:i + n] if i == 0 else f"##{word[i:i + n]}" for i in range(len(word) - n + 1))
    normal = BertNormalizer(lowercase=False, strip_accents=False).normalize_str
    keep = lambda token: normal(token).strip() == token and not any(c.isspace() for c in token)
    singles = [c for c, _ in sorted(chars.items(), key=lambda kv: (-kv[1], kv[0]))[:1500] if keep(c)]
    many = [p for p, _ in sorted(pieces.items(), key=lambda kv: (-kv[1], kv[0]))[:2000] if keep(p)]
    return list(dict.fromkeys(SPECIAL + singles + [f"##{c}" for c in singles[:900]] + many + WORDS))


def utf16(text, offsets):
    """Code point offsets to UTF-16 offsets, flat."""
    at = [0, *itertools.accumulate(2 if ord(c) > 0xFFFF else 1 for c in text)]
    return [at[i] for pair in offsets for i in pair]


def goldens(tokenizer, texts):
    encodings = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [{"ids": e.ids, "offsets": utf16(t, e.offsets)} for t, e in zip(texts, encodings)]


def cased_tokenizer(vocab_file):
    tokenizer = tokenizers.BertWordPieceTokenizer(str(vocab_file), lowercase=False, strip_accents=False)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def dump(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"


def main():
    seen = set()
    fresh = (text for text in strings() if not (text in seen or seen.add(text)))
    texts = list(itertools.islice(fresh, STRINGS))
    version = {"tokenizers": tokenizers.__version__, "unicodedata": unicodedata.unidata_version}
    if len(sys.argv) > 1:
        print(dump({"version": version, "strings": texts, "cased": goldens(cased_tokenizer(sys.argv[1]), texts)}))
        return
    (HERE / "unicode.json").write_text(dump(unicode_table()))
    (HERE / "cased-vocab.txt").write_text("\n".join(cased_vocab(texts)) + "\n")
    uncased = tokenizers.Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    result = {"version": version, "strings": texts, "uncased": goldens(uncased, texts),
              "cased": goldens(cased_tokenizer(HERE / "cased-vocab.txt"), texts)}
    (HERE / "tokenizer.json").write_text(dump(result))
    tokens = sum(len(g["ids"]) for g in result["uncased"])
    unknown = sum(g["ids"].count(100) for g in result["uncased"])
    print(f"{len(texts)} strings, {tokens} uncased tokens, {unknown} of them [UNK]; "
          f"{sum(len(g['ids']) for g in result['cased'])} cased tokens")


main()
