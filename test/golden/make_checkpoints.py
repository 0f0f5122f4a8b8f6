"""Writes small random checkpoints in the forms that people's repositories have, and what transformers makes of them.

    python test/golden/make_checkpoints.py   (torch 2.15.0, transformers 5.24.0, tokenizers 0.23.3; it needs no network)
    python test/golden/make_checkpoints.py --compare   (transformers 4.57.6, without torch) prints, as a table, what another
                                                       version makes of the cases where it is something else

- checkpoints/<model>/: a checkpoint of each family, hidden size 16, seeded.
- checkpoints/cases.json: `models`, logits of each in fp32 and with quantize_dynamic; `cases`, each the files of a tokenizer
  with the ids, offsets (UTF-16), types and logits of pairs of texts, or with `refused` where bertlet must refuse. Types are
  what the tokenizer gives by itself; where it gives none they are 0, with which the model then computes.
- checkpoints/bytes.json: byte-level BPE. The class of every code point, and a hash of ids and offsets for each of the 6,000
  strings of tokenizer.json.
"""
import copy, hashlib, itertools, json, os, random, shutil, sys, tempfile, warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

transformers.logging.set_verbosity_error()
HERE = Path(__file__).parent
OUT = HERE / "checkpoints"

WORDS = """the of and in to was who what where wrote program first engine note analytical Ada Lovelace Charles Babbage in
London 18 43 algorithm machine number Bernoulli published translation Menabrea article Zürich café naïve don't""".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAIRS = [
    ("Who wrote the first program?", "Ada Lovelace wrote the first program in 1843, in a note to Menabrea's article."),
    ("what was in Zürich?", "  The café, NAÏVE and cafe\u0301; 東京 was a中b.\tI don't [know] \U0001f4a9 ΑΣ İstanbul  "),
    ("the <ent> Alpha", "one <ent> two<ent>three <ENT> alpha ALPHA alphabet Alpha. \u00a0<ent>\u00a0 [SEP] </s> <mask> x"),
    ("note", "a" * 101 + " " + "ab" * 20 + " 18431843 ...!? machine-number_x  \n\n end"),
]


def wordpiece_vocab():
    """Special tokens, characters and syllables, in both cases: every setting of a normalizer gives other ids."""
    chars = [chr(c) for c in range(0x21, 0x7F)] + list("äöüßéïçıÜÉçáαςσΑΣ東京中")
    syllables = dict.fromkeys(w[i:i + n] for w in WORDS for n in (2, 3, 4) for i in range(0, len(w) - n + 1, 3))
    tail = [f"##{s}" for s in syllables][:60] + [f"##{c}" for c in chars if c.isalnum()]
    lower = [w.lower() for w in WORDS]
    return list(dict.fromkeys(SPECIAL + chars + tail + WORDS + lower + ["cafe", "naive", "zurich"]))


def wordpiece(vocab, unk="[UNK]", prefix="##", longest=100, **normalizer):
    made = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocab)}, unk_token=unk,
                                                 continuing_subword_prefix=prefix, max_input_chars_per_word=longest))
    made.normalizer = normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix=prefix)
    return made


def with_template(made, cls="[CLS]", sep="[SEP]", second=1):
    ids = [(t, made.token_to_id(t)) for t in dict.fromkeys([cls, sep])]
    made.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0", pair=f"{cls}:0 $A:0 {sep}:0 $B:{second} {sep}:{second}", special_tokens=ids)
    return made


def byte_level():
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    texts = [" ".join(WORDS), *[t for pair in PAIRS for t in pair], " ".join(WORDS).lower()] * 3
    made.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=480, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return made


VOCAB = wordpiece_vocab()
BPE = json.loads(byte_level().to_str())
SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32,
         "max_position_embeddings": 256, "initializer_range": 0.3}
MODELS = {
    "bert": ("bert", {**SMALL, "vocab_size": len(VOCAB) + 8}),
    "distilbert": ("distilbert", {"n_layers": 2, "dim": 16, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 256,
                                  "initializer_range": 0.3, "vocab_size": len(VOCAB) + 8}),
    "electra-base": ("electra", {**SMALL, "embedding_size": 16, "vocab_size": len(VOCAB) + 8}),
    "electra-small": ("electra", {**SMALL, "embedding_size": 8, "vocab_size": len(VOCAB) + 8}),
    "roberta": ("roberta", {**SMALL, "vocab_size": 488, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
                            "max_position_embeddings": 258}),
}
MERGES = [" ".join(m) if isinstance(m, list) else m for m in BPE["model"]["merges"]]
TXT = {"vocab.txt": "\n".join(VOCAB) + "\n"}
BYTES = {"vocab.json": BPE["model"]["vocab"], "merges.txt": "#version: 0.2\n" + "\n".join(MERGES) + "\n"}


def special(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True, **flags}


def file_of(made, added=(), **change):
    """A tokenizer.json, with its added tokens, changed as said: `model__type=None` removes a key."""
    made.add_tokens([tokenizers.AddedToken(t.pop("content"), **t) for t in copy.deepcopy(list(added))])
    made = json.loads(made.to_str())
    for path, value in change.items():
        *parents, last = path.split("__")
        place = made
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    return made


TYPES = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
NO_TYPES = {"model_input_names": ["input_ids", "attention_mask"]}


def cases():
    """(name, model, files[, refused or pairs of its own])"""
    classes = {"tokenizer_class": "BertTokenizer"}
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    fast = {**plain, **TYPES}
    bert_added = [special(t) for t in SPECIAL]
    uncased = lambda **change: file_of(with_template(wordpiece(VOCAB)), bert_added, **change)
    cased = lambda **change: file_of(with_template(wordpiece(VOCAB, lowercase=False)), bert_added, **change)

    yield "distilbert, vocab.txt", "distilbert", {**TXT, "tokenizer_config.json": {"do_lower_case": True}}
    yield "electra base", "electra-base", {"tokenizer.json": uncased(), "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer"}}
    yield "electra small", "electra-small", {"tokenizer.json": uncased()}
    yield "distilbert, its class", "distilbert", {"tokenizer.json": cased(), "tokenizer_config.json": {
        "tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}}

    # do_lower_case, strip_accents, tokenize_chinese_chars: the configuration wins, defaults where it is silent
    yield "vocab.txt alone", "bert", TXT
    for lower in (None, True, False):
        for accents in (None, True, False):
            for chinese in (None, False):
                given = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
                given = {k: v for k, v in given.items() if v is not None}
                label = ", ".join(f"{k} {v}" for k, v in given.items()) or "silent"
                yield f"vocab.txt, {label}", "bert", {**TXT, "tokenizer_config.json": given}
                if chinese is None:
                    yield f"cased tokenizer.json, {label}", "bert", {"tokenizer.json": cased(), "tokenizer_config.json": {**classes, **given}}
    yield "cased tokenizer.json without tokenizer_config.json", "bert", {"tokenizer.json": cased()}
    yield "strip_accents null", "bert", {**TXT, "tokenizer_config.json": {"strip_accents": None, "do_lower_case": False}}
    yield "cased tokenizer.json, PreTrainedTokenizerFast", "bert", {"tokenizer.json": cased(), "tokenizer_config.json": fast}
    yield "class of config.json", "bert", {"tokenizer.json": cased(), "config.json": plain, "tokenizer_config.json": TYPES}

    # Old and other tokenizer.json
    yield "tokenizer.json of 2020", "bert", {"tokenizer.json": uncased(model__type=None), "tokenizer_config.json": {}}
    yield "vocab.txt with spaces and CRLF", "bert", {"vocab.txt": "\r\n".join(t + (" " if i % 7 == 0 else "") for i, t in enumerate(VOCAB))}
    other = ["<cls>" if t == "[CLS]" else "<sep>" if t == "[SEP]" else "<unk>" if t == "[UNK]" else t.replace("##", "@@") for t in VOCAB]
    strange = with_template(wordpiece(other, unk="<unk>", prefix="@@", longest=20), "<cls>", "<sep>")
    yield "other names, prefix and word length", "bert", {"tokenizer.json": file_of(strange, [special("<cls>"), special("<sep>"), special("<unk>")]), "tokenizer_config.json": fast}
    yield "other prefix, BertTokenizer", "bert", {"tokenizer.json": file_of(strange), "tokenizer_config.json": {
        **classes, "cls_token": "<cls>", "sep_token": "<sep>", "unk_token": "<unk>"}}, "expected prefix"
    names = {"cls_token": "<cls>", "sep_token": "<sep>", "unk_token": "<unk>"}
    lines = [t.replace("@@", "##") for t in other]
    yield "other names in tokenizer_config.json", "bert", {"vocab.txt": "\n".join(lines), "tokenizer_config.json": names}
    yield "other names in special_tokens_map.json", "bert", {"vocab.txt": "\n".join(lines), "special_tokens_map.json": {
        **names, "mask_token": special("[MASK]", lstrip=True)}}

    # Post-processors
    bert_processing = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    roberta_processing = {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": True, "add_prefix_space": False}
    for label, config in (("BertTokenizer", classes), ("PreTrainedTokenizerFast", fast)):
        yield f"BertProcessing, {label}", "bert", {"tokenizer.json": uncased(post_processor=bert_processing), "tokenizer_config.json": config}
    yield "RobertaProcessing of WordPiece", "bert", {"tokenizer.json": uncased(post_processor=roberta_processing), "tokenizer_config.json": fast}
    yield "RobertaProcessing, BertTokenizer", "bert", {"tokenizer.json": uncased(post_processor=roberta_processing), "tokenizer_config.json": classes}, "expected pair \\["
    types = json.loads(with_template(wordpiece(VOCAB), second=0).to_str())["post_processor"]
    yield "a template of one type", "bert", {"tokenizer.json": uncased(post_processor=types), "tokenizer_config.json": fast}
    wide = copy.deepcopy(types)
    wide["pair"].insert(0, {"SpecialToken": {"id": "[CLS]", "type_id": 0}})
    yield "a template of two class tokens", "bert", {"tokenizer.json": uncased(post_processor=wide), "tokenizer_config.json": fast}
    turned = copy.deepcopy(types)
    turned["pair"][1]["Sequence"]["id"], turned["pair"][3]["Sequence"]["id"] = "B", "A"
    yield "a template in the other order", "bert", {"tokenizer.json": uncased(post_processor=turned), "tokenizer_config.json": fast}, "expected a pair like"
    several = json.loads(with_template(wordpiece(VOCAB)).to_str())["post_processor"]
    several["special_tokens"]["[CLS]"]["ids"].append(2)
    yield "a template with more ids than tokens", "bert", {"tokenizer.json": uncased(post_processor=several), "tokenizer_config.json": fast}, "as many as its ids"
    for label, config in (("BertTokenizer", classes), ("PreTrainedTokenizerFast", fast)):
        yield f"no post-processor, {label}", "bert", {"tokenizer.json": {**uncased(), "post_processor": None}, "tokenizer_config.json": config}, "expected (pair|a post_processor)"

    # Added tokens
    flags = [{}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}]
    for flag in flags:
        for normalized in (False, True):
            label = ", ".join([*flag, "normalized" if normalized else "literal"])
            added = [special("<ent>", normalized=normalized, **flag), special("Alpha", normalized=normalized, special=False, **flag)]
            decoder = {str(len(VOCAB) + i): t for i, t in enumerate(added)}
            yield f"added tokens: {label}, tokenizer_config.json", "bert", {**TXT, "tokenizer_config.json": {"added_tokens_decoder": decoder}}
            yield f"added tokens: {label}, tokenizer.json", "bert", {"tokenizer.json": file_of(with_template(wordpiece(VOCAB)), [*bert_added, *added]), "tokenizer_config.json": fast}
    yield "added_tokens.json", "bert", {**TXT, "added_tokens.json": {"Alpha": len(VOCAB) + 1, "<ent>": len(VOCAB)}}
    yield "added_tokens.json beside tokenizer.json", "bert", {"tokenizer.json": uncased(), "added_tokens.json": {"<ent>": len(VOCAB)}}
    yield "added_tokens.json, special", "bert", {**TXT, "added_tokens.json": {"<ent>": len(VOCAB)}, "special_tokens_map.json": {"additional_special_tokens": ["<ent>"]}}
    yield "additional_special_tokens of special_tokens_map.json", "bert", {**TXT, "special_tokens_map.json": {"additional_special_tokens": ["<ent>"]}}
    yield "additional_special_tokens", "bert", {**TXT, "tokenizer_config.json": {"additional_special_tokens": ["<ent>", "note"]}}
    yield "additional_special_tokens, objects", "bert", {**TXT, "tokenizer_config.json": {
        "additional_special_tokens": [{"__type": "AddedToken", **special("<ent>", lstrip=True)}]}}
    yield "extra_special_tokens", "bert", {"tokenizer.json": uncased(), "tokenizer_config.json": {**classes, "extra_special_tokens": ["<ent>"]}}
    decoder = {str(i): special(t) for i, t in enumerate(SPECIAL)}
    yield "tokens of tokenizer.json that the configuration lacks", "bert", {
        "tokenizer.json": file_of(with_template(wordpiece(VOCAB)), [*bert_added, special("<ent>")]),
        "tokenizer_config.json": {**classes, "added_tokens_decoder": decoder}}

    # Refused
    yield "BertJapaneseTokenizer", "bert", {**TXT, "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "got \"BertJapaneseTokenizer\""
    yield "BertJapaneseTokenizer in config.json", "bert", {**TXT, "config.json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "got \"BertJapaneseTokenizer\""
    yield "word_tokenizer_type", "bert", {**TXT, "tokenizer_config.json": {"word_tokenizer_type": "mecab"}}, "word_tokenizer_type"
    yield "Unigram", "bert", {"tokenizer.json": uncased(model__type="Unigram"), "tokenizer_config.json": fast}, "got \"Unigram\""
    yield "a head of another task", "bert", {**TXT, "config.json": {"architectures": ["BertForMaskedLM"]}}, "expected architectures"
    yield "a decoder", "bert", {**TXT, "config.json": {"is_decoder": True}}, "expected is_decoder"
    yield "another family", "bert", {**TXT, "config.json": {"model_type": "albert"}}, "expected model_type"
    yield "an id twice", "bert", {"tokenizer.json": uncased(model__vocab={**{t: i for i, t in enumerate(VOCAB)}, "zzz": 9}), "tokenizer_config.json": fast}, "each once"
    yield "WordPiece's types for one type", "roberta", {**TXT, "tokenizer_config.json": classes}, "token types"

    # Byte-level BPE
    roberta_added = [special(t, normalized=True) for t in ("<s>", "<pad>", "</s>", "<unk>")] + [special("<mask>", lstrip=True)]
    bpe = lambda added=(), **change: file_of(tokenizers.Tokenizer.from_str(json.dumps({**BPE, "added_tokens": []})), [*roberta_added, *added], **change)
    roberta = {"tokenizer_class": "RobertaTokenizer"}
    yield "roberta", "roberta", {"tokenizer.json": bpe(), "tokenizer_config.json": roberta}
    yield "roberta, silent", "roberta", {"tokenizer.json": bpe()}
    yield "roberta, vocab.json and merges.txt", "roberta", BYTES
    yield "roberta, mask token with lstrip", "roberta", {**BYTES, "special_tokens_map.json": {"mask_token": special("<mask>", lstrip=True)}}
    for prefix in (True, False):
        for trim in (True, False):
            config = {**roberta, "add_prefix_space": prefix, "trim_offsets": trim}
            yield f"roberta, prefix {prefix}, trim {trim}", "roberta", {"tokenizer.json": bpe(), "tokenizer_config.json": config}
    yield "roberta, merges as pairs of 2024 and of 2020", "roberta", {"tokenizer.json": bpe(model__merges=MERGES, model__type=None), "tokenizer_config.json": {**roberta}}
    file_prefix = bpe(pre_tokenizer__add_prefix_space=True, post_processor__add_prefix_space=True)
    yield "roberta, a prefix in the file only", "roberta", {"tokenizer.json": file_prefix, "tokenizer_config.json": roberta}
    yield "roberta, PreTrainedTokenizerFast", "roberta", {"tokenizer.json": file_prefix, "tokenizer_config.json": {**plain, "add_prefix_space": True}}
    yield "roberta, untrimmed, PreTrainedTokenizerFast", "roberta", {"tokenizer.json": bpe(post_processor__trim_offsets=False), "tokenizer_config.json": plain}
    template = {"type": "TemplateProcessing", **{
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                 {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in (("<s>", 0), ("</s>", 2))}}}
    yield "roberta, a template, PreTrainedTokenizerFast", "roberta", {"tokenizer.json": bpe(post_processor=template), "tokenizer_config.json": plain}
    yield "roberta, added tokens", "roberta", {"tokenizer.json": bpe([special("<ent>", lstrip=True), special("Alpha", single_word=True, normalized=True, special=False)]), "tokenizer_config.json": roberta}
    files, texts = random_merges()
    yield "roberta, merges in no order", "roberta", files, texts
    yield "byte-level BPE for BERT", "bert", {"tokenizer.json": bpe(), "tokenizer_config.json": classes}, "expected type"

    # Token types: what a class gives, or what model_input_names says
    for cls in ("BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "MobileBertTokenizer", "DistilBertTokenizer", "DistilBertTokenizerFast"):
        for model in ("bert", "electra-base"):
            config = {"tokenizer_class": cls}
            yield f"types: {cls}, {model}", model, {"tokenizer.json": uncased(), "tokenizer_config.json": config}, PAIRS[:1]
            yield f"types: {cls} without, {model}", model, {**TXT, "tokenizer_config.json": {**config, **NO_TYPES}}, PAIRS[:1]
            yield f"types: {cls} with, {model}", model, {**TXT, "tokenizer_config.json": {**config, **TYPES}}, PAIRS[:1]
    yield "types: no class, without", "bert", {**TXT, "tokenizer_config.json": NO_TYPES}, PAIRS[:1]
    yield "types: no names at all", "bert", {**TXT, "tokenizer_config.json": {"model_input_names": []}}, PAIRS[:1]
    for cls in ("TokenizersBackend", "TokenizersBackendFast", "PreTrainedTokenizer"):
        for label, names in (("without", NO_TYPES), ("with", TYPES)):
            yield f"types: {cls} {label}", "bert", {"tokenizer.json": uncased(), "tokenizer_config.json": {"tokenizer_class": cls, **names}}, PAIRS[:1]
    for cls in ("TokenizersBackend", "TokenizersBackendFast"):
        yield f"types: {cls}", "bert", {"tokenizer.json": uncased(), "tokenizer_config.json": {"tokenizer_class": cls}}, PAIRS[:1]
    for cls in ("PreTrainedTokenizer", "PreTrainedTokenizerFast"):
        yield f"types: {cls}", "bert", {"tokenizer.json": uncased(), "tokenizer_config.json": {"tokenizer_class": cls}}, "expected model_input_names"
    yield "types: PreTrainedTokenizerFast without", "bert", {"tokenizer.json": uncased(), "tokenizer_config.json": {**plain, **NO_TYPES}}, PAIRS[:1]
    yield "types: PreTrainedTokenizerFast, a template of one type", "bert", {"tokenizer.json": uncased(post_processor=types), "tokenizer_config.json": plain}, PAIRS[:1]
    yield "types: PreTrainedTokenizerFast, distilbert", "distilbert", {"tokenizer.json": uncased(), "tokenizer_config.json": plain}, PAIRS[:1]
    swapped = {"vocab.txt": "\n".join(["[UNK]", "[PAD]", *VOCAB[2:]])}  # 1 is RoBERTa's padding
    yield "types: BertTokenizer without, roberta", "roberta", {**swapped, "tokenizer_config.json": {**classes, **NO_TYPES}}, PAIRS[:1]
    yield "types: DistilBertTokenizer, roberta", "roberta", {**swapped, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}}, PAIRS[:1]
    yield "types: RobertaTokenizer with, roberta", "roberta", {"tokenizer.json": bpe(), "tokenizer_config.json": {**roberta, **TYPES}}, PAIRS[:1]
    yield "types: names that are no list", "bert", {**TXT, "tokenizer_config.json": {"model_input_names": "token_type_ids"}}, "expected model_input_names"

    # Options that would need another tokenizer
    yield "split_special_tokens", "bert", {**TXT, "tokenizer_config.json": {"split_special_tokens": True}}, "expected no split_special_tokens"
    yield "split_special_tokens false", "bert", {**TXT, "tokenizer_config.json": {"split_special_tokens": False}}
    specific = {"model_specific_special_tokens": {"image": "<ent>"}}
    yield "model_specific_special_tokens", "bert", {**TXT, "tokenizer_config.json": specific}, "expected no model_specific_special_tokens"
    yield "roberta, a prefix in the file only, PreTrainedTokenizerFast", "roberta", {"tokenizer.json": file_prefix, "tokenizer_config.json": plain}, "tokenizer_config.json: expected add_prefix_space true"

    # Offsets and added tokens in awkward texts
    spaces = [("東", "\U0001f4a9"), ("\U0001f4a9", "東京"), ("東 <mask> 京", "\U0001f4a9<mask>\U0001f4a9 <mask>"), ("a 東", " \U0001f4a9"),
              ("\u3000", "\u3000\U0001f4a9  \U0001f4a9 "), ("\t東", "\n\U0001f4a9"), ("é", "\U0001d4e7\U0001d4e7 x")]
    for trim in (True, False):
        config = {**roberta, "add_prefix_space": True, "trim_offsets": trim}
        yield f"a lone added space, trim {trim}", "roberta", {"tokenizer.json": bpe(), "tokenizer_config.json": config}, spaces
    beside = [("\U0001d4e7<ent> Alpha", "<ent>\U0001d4e7 \U0001f4a9<ent>\U0001f4a9 \U0001d4e7Alpha\U0001d4e7"), ("\U0002a6d6<ent>", "\U0001d165<ent> \U000e0100<ent> x<ent> Alpha\U0001d7ce"),
              ("\u200d<ent> \u203f<ent>", "<ent>\u0301 ٣<ent> ©<ent> Alpha")]
    for normalized in (False, True):
        decoder = {str(len(VOCAB) + i): special(t, normalized=normalized, single_word=True) for i, t in enumerate(("<ent>", "Alpha"))}
        yield f"single words beside letters outside the basic plane, {'normalized' if normalized else 'literal'}", "bert", {**TXT, "tokenizer_config.json": {"added_tokens_decoder": decoder}}, beside
    marks = [("\u0304\u302f\U0001f4a9", "a\u0304\u302fa \u302f\u0304\u302e\u0323x"), ("\u0304\u200d\u302f\U0001f4a9", "\u0304\U0001d165\u0323\U0001d16e x\u0323\U0001e000\u08d4\u0301y"),
             ("\u0304\u1abf\u302f", "é\u302f\u0301 \ua9c0\u0301 \u0301\ua9c0\U000111c0 \u0345\u1dfb\u0345x"), ("\u302f" * 3, "\u0301\u302e" * 40 + "中\u0301\u302f")]
    everything = list(dict.fromkeys(VOCAB + [p + c for c in dict.fromkeys("".join(a + b for a, b in marks)) if not c.isspace() for p in ("", "##")]))[:len(VOCAB) + 60]
    for lower in (True, False):
        yield f"marks in another order, {'uncased' if lower else 'cased'}", "bert", {"vocab.txt": "\n".join([*VOCAB[:-60], *everything[len(VOCAB):]][:len(VOCAB)]), "tokenizer_config.json": {"do_lower_case": lower}}, marks
    twice = lambda first, second: {"tokenizer.json": uncased(added_tokens=[*({"id": i, **t} for i, t in enumerate(bert_added)), {"id": len(VOCAB), **special("<ent>", **first)}, {"id": len(VOCAB), **special("<ent>", **second)}]), "tokenizer_config.json": fast}
    for label, first, second in (("lstrip, rstrip", {"lstrip": True}, {"rstrip": True}), ("special, not special", {"lstrip": True}, {"rstrip": True, "special": False}),
                                 ("not special, special", {"special": False, "rstrip": True}, {"lstrip": True}), ("literal, normalized", {}, {"normalized": True}), ("normalized, literal", {"normalized": True}, {})):
        yield f"an added token twice: {label}", "bert", twice(first, second)
    for normalized in (False, True):
        ends = [special("<ent>", rstrip=True, normalized=normalized), special(" Beta", normalized=normalized), special("Alpha\U0001f4a9", lstrip=True, normalized=normalized)]
        decoder = {str(len(VOCAB) + i): t for i, t in enumerate(ends)}
        yield f"an added token that begins in the spaces of another, {'normalized' if normalized else 'literal'}", "bert", {**TXT, "tokenizer_config.json": {"added_tokens_decoder": decoder}}, [
            ("<ent> Beta", "x Beta <ent> <ent>  Beta"), ("Alpha\U0001f4a9 ALPHA\U0001f4a9", "<ent>  Alpha\U0001f4a9 BetaAlpha\U0001f4a9")]
    for normalized in (False, True):
        flags = {"lstrip": True, "rstrip": True, "normalized": normalized}
        yield f"an added token of one space, {'normalized' if normalized else 'literal'}", "bert", {**TXT, "tokenizer_config.json": {
            "added_tokens_decoder": {str(len(VOCAB)): special(" ", **flags)}}}, [("the  Ada", " Who   wrote \u3000  it "), ("   ", " a \t b")]
    inside = [special("Bab", single_word=True, special=False), special("##zz", special=False)]
    yield "an added token is no piece of a word", "bert", {**TXT, "tokenizer_config.json": {"do_lower_case": False, "added_tokens_decoder": {str(len(VOCAB) + i): t for i, t in enumerate(inside)}}}, [("Babble Bab", "qzz ##zz q##zz Babs")]


def random_merges(seed=3):
    """A vocabulary whose merges are in no order, so that a pair which waits may be gone when its turn comes; and texts."""
    rng = random.Random(seed)
    vocab = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made, merges = list("abcd"), []
    while len(merges) < 80:
        left, right = rng.choice(made), rng.choice(made)
        if len(left + right) < 7 and left + right not in made:
            made.append(left + right)
            merges.append(f"{left} {right}")
    rng.shuffle(merges)
    gone = ["x y", "w x", "v w", "w xy"]  # of vwxy the second is gone at its turn, and the fourth must wait for the third
    made += [merge.replace(" ", "") for merge in gone]
    merges = gone + merges
    text = lambda: " ".join("".join(rng.choice("abcd") for _ in range(rng.randint(2, 14))) for _ in range(12))
    return ({"vocab.json": {t: i for i, t in enumerate(vocab + made[4:])}, "merges.txt": "#version: 0.2\n" + "\n".join(merges) + "\n"},
            [("vwxy", "vwxy wxyvwxy"), *((text(), text()) for _ in range(8))])


def utf16(text, offsets):
    at = [0, *itertools.accumulate(2 if ord(c) > 0xFFFF else 1 for c in text)]
    return [at[i] for pair in offsets for i in pair]


def encoded(tokenizer, pair):
    encoding = tokenizer(*pair, return_offsets_mapping=True)
    sequence = encoding.sequence_ids(0)
    flat = [utf16(pair[s], [o]) if s is not None else [0, 0] for s, o in zip(sequence, encoding["offset_mapping"])]
    types = encoding.get("token_type_ids")
    return {"ids": encoding["input_ids"], "offsets": [i for o in flat for i in o], "types": types or [0] * len(sequence),
            "sequence": [2 if s is None else s for s in sequence]}, types is not None


def logits(model, ids, types=None):
    given = {"input_ids": torch.tensor([ids])}
    if types and model.config.model_type != "distilbert":
        given["token_type_ids"] = torch.tensor([types])
    with torch.no_grad():
        out = model(**given)
    return [round(x, 6) for x in torch.stack([out.start_logits[0], out.end_logits[0]], -1).flatten().tolist()]


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), newline="")


def opened(folder, model, files):
    config = json.loads((OUT / model / "config.json").read_text())
    write(folder, {**files, "config.json": {**config, **files.get("config.json", {})}})
    return AutoTokenizer.from_pretrained(folder)


def filled(value, shared):
    """A value of cases.json with the shared vocabularies where it names them."""
    if isinstance(value, str) and value.startswith("$shared "):
        return shared[value[len("$shared "):]]
    return {key: filled(one, shared) for key, one in value.items()} if isinstance(value, dict) else value


def compare():
    """Prints where this version of transformers makes something else of the files that open."""
    goldens = json.loads((OUT / "cases.json").read_text())
    print(f"| files | what transformers {transformers.__version__} makes of them, and not {goldens['transformers']} |\n|---|---|")
    for case in goldens["cases"]:
        if "refused" in case:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                tokenizer = opened(Path(folder), case["model"], filled(case["files"], goldens["shared"]))
                pairs = [encoded(tokenizer, pair)[0] for pair in case.get("own", goldens["pairs"])]
            except Exception:
                print(f"| {case['name']} | an error |")
                continue
        both = list(zip(pairs, case["pairs"]))
        keys = [key for key in pairs[0] if any(one[key] != other[key] for one, other in both)]
        if keys:
            print(f"| {case['name']} | other {', '.join(keys)} in {sum(a != b for a, b in both)} of {len(both)} pairs |")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    result = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "pairs": PAIRS, "models": {}, "cases": []}
    made = {}
    for seed, (name, (kind, sizes)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = AutoModelForQuestionAnswering.from_config(AutoConfig.for_model(kind, **sizes)).eval()
        for parameter in model.parameters():  # biases and LayerNorms are not 0 and 1
            parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(OUT / name)
        made[name] = AutoModelForQuestionAnswering.from_pretrained(OUT / name).eval()
        (OUT / name / "generation_config.json").unlink(missing_ok=True)
        write(OUT / name, BYTES if kind == "roberta" else TXT)
        ids = torch.randint(5, 300, (100,)).tolist()
        types = [0] * 40 + [0 if name == "roberta" else 1] * 60
        int8 = torch.ao.quantization.quantize_dynamic(copy.deepcopy(made[name]), {torch.nn.Linear}, dtype=torch.qint8)
        result["models"][name] = {"ids": ids, "types": types, "fp32": logits(made[name], ids, types), "int8": logits(int8, ids, types)}
    for name, model, files, *more in cases():
        case = {"name": name, "model": model, "files": files}
        own = more[0] if more and isinstance(more[0], list) else None
        if own:
            case["own"] = own
        if more and not own:
            case["refused"] = more[0]
        else:
            print(name, end="\r")
            with tempfile.TemporaryDirectory() as folder:
                tokenizer = opened(Path(folder), model, files)
                case["class"] = type(tokenizer).__name__
                all_pairs = [encoded(tokenizer, pair) for pair in own or PAIRS]
                case["pairs"] = [pair for pair, _ in all_pairs]
                first, typed = all_pairs[0]
                case["logits"] = logits(made[model], first["ids"], first["types"] if typed else None)
        result["cases"].append(case)
    # One vocabulary for many cases: those that have it say so.
    shared = {"vocab.txt": TXT["vocab.txt"], "wordpiece": {t: i for i, t in enumerate(VOCAB)}, "bpe": BPE["model"]["vocab"], "merges": BPE["model"]["merges"]}
    text = json.dumps(result, ensure_ascii=True, separators=(",", ":"))
    for key, value in shared.items():
        text = text.replace(json.dumps(value, ensure_ascii=True, separators=(",", ":")), json.dumps(f"$shared {key}"))
    text = text[:-1] + "," + json.dumps({"shared": shared}, ensure_ascii=True, separators=(",", ":"))[1:]
    (OUT / "cases.json").write_text(text + "\n")
    strings = json.loads((HERE / "tokenizer.json").read_text())["strings"]
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    one = lambda text: len(split(text)) == 1
    classes = {"letters": [], "numbers": [], "spaces": []}
    for c in (c for c in range(0x110000) if c not in range(0xD800, 0xE000)):
        kind = "letters" if one("a" + chr(c)) else "numbers" if one("1" + chr(c)) else None if one("!" + chr(c)) else "spaces"
        if kind is None:
            continue
        if classes[kind] and classes[kind][-1][1] == c - 1:
            classes[kind][-1][1] = c
        else:
            classes[kind].append([c, c])
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(BPE))
    def digest(text):
        e = tokenizer.encode(text, add_special_tokens=False)
        return hashlib.sha256(json.dumps([e.ids, utf16(text, e.offsets)], separators=(",", ":")).encode()).hexdigest()[:8]
    bytes_ = {"tokenizer": BPE, **classes, "hashes": "".join(digest(t) for t in strings)}
    (OUT / "bytes.json").write_text(json.dumps(bytes_, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(len(result["cases"]), "cases,", sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()) // 1024, "KB")


if "--compare" in sys.argv:
    compare()
else:
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering
    main()
