"""Writes squad.json: what Hugging Face's squad_v2 and squad metrics (the official scripts) make of made-up answers.

    pip install evaluate scipy
    python test/golden/make_squad.py METRICS   # the folder `metrics` of a clone of huggingface/evaluate

`sets`: questions with right answers, a text said and its noAnswerScore; the scores of each text, and the figures of all
at several thresholds. `characters`: ranges [first, last] of the characters beside which an article is a word
(`boundary`), at which words are split (`space`), which this Python does not know (`unassigned`), and all that `lower`
changes. `bootstrap`: scipy's percentile interval of a mean.
"""
import json
import platform
import random
import sys
import unicodedata
from pathlib import Path

import evaluate
import numpy as np
import scipy.stats

METRICS = Path(sys.argv[1])
sys.path.insert(0, str(METRICS / "squad_v2"))
from compute_score import get_raw_scores, normalize_answer  # noqa: E402

WORDS = ("a an the The THE a. an, (the) theory another a-b a_b an_ the1 1the thé the\u0301 \u0301the thea\u0308 ä a\u00a0b "
         "tea the\ufeff \ufeffa the\u200b tomato the\x1fend the\x85x a\u2028an \u3000the 東京 the東京 東京the the— —an— “the” "
         "O'Brien U.S.A. 3.14 3,14 $5 5€ #1 50% ΣΑΣ ΌΣ ΣΣ Σ İstanbul I ı ß ẞ STRASSE ǅ K Ω ﬁ ½ the½ Ⅷ ٣ the٣ _ __ - -- . "
         "\u0130 \u00aa the\u00aa \u20ac the😀 😀a a😀 𝐀 𝐭𝐡𝐞 the𐐀 𐐀 \t\n naïve naïve"
         "").split(" ") + ["", " ", "\t", "the a an", "a  the  b", "the\nan\ttoday", "A man, a plan, a canal: Panama!"]


def text(rng):
    return rng.choice(["", " ", " "]).join(rng.choice(WORDS) for _ in range(rng.choice([1, 1, 2, 3, 5])))


def changed(rng, answer):
    """The answer, often in another form that the metric may or may not forgive."""
    words = answer.split(" ")
    return rng.choice([
        lambda: answer, lambda: answer.upper(), lambda: answer + ".", lambda: "The " + answer, lambda: f"«{answer}»",
        lambda: " ".join(words[:-1]), lambda: " ".join(words + words[:1]), lambda: " ".join(words[::-1]), lambda: text(rng),
        lambda: ""])()


def questions(rng, count, has, grid):
    """`has`: share of questions with an answer; `grid`: step of the scores, so that there are ties."""
    out = []
    for _ in range(count):
        answers = [text(rng) for _ in range(rng.choice([1, 1, 2, 3]))] if rng.random() < has else []
        said = changed(rng, rng.choice(answers)) if answers else rng.choice([text(rng), text(rng), ""])
        score = float(np.float32(round(rng.gauss(-1 if answers else 1, 2) / grid) * grid))
        out.append({"answers": answers, "text": said, "noAnswerScore": score})
    return out


def measured(items, with_squad1=False):
    predictions = [{"id": str(i), "prediction_text": q["text"], "no_answer_probability": q["noAnswerScore"]}
                   for i, q in enumerate(items)]
    references = [{"id": str(i), "answers": {"text": q["answers"], "answer_start": [0] * len(q["answers"])}}
                  for i, q in enumerate(items)]
    dataset = [{"paragraphs": [{"qas": references}]}]
    exact, f1 = get_raw_scores(dataset, {p["id"]: p["prediction_text"] for p in predictions})
    for i, item in enumerate(items):
        item |= {"exact": exact[str(i)], "f1": f1[str(i)]}
    metric = evaluate.load(str(METRICS / "squad_v2"))
    figures = {str(threshold): metric.compute(predictions=predictions, references=references,
                                              no_answer_threshold=threshold) for threshold in [0, -2, 1.5, 1e9]}
    result = {"questions": items, "figures": figures}
    if with_squad1:
        for prediction in predictions:
            del prediction["no_answer_probability"]
        result["squad1"] = evaluate.load(str(METRICS / "squad")).compute(predictions=predictions, references=references)
    return result


def ranges(characters):
    out = []
    for code in characters:
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def characters():
    every = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    known = [code for code in every if unicodedata.category(chr(code)) != "Cn"]
    lower = "".join(chr(code) for code in known if chr(code).lower() != chr(code))
    return {"boundary": ranges(code for code in known if "the" not in normalize_answer(f"the{chr(code)}")),
            "space": ranges(code for code in known if " " in normalize_answer(f"x{chr(code)}x")),
            "unassigned": ranges(code for code in every if unicodedata.category(chr(code)) == "Cn"),
            "upper": lower, "lower": [c.lower() for c in lower]}


def bootstrap(rng):
    cases = {}
    for name, count, draw in [("few", 12, lambda: rng.choice([-1, 0, 0, 0.5, 1])), ("many", 400, lambda: rng.gauss(0.1, 1)),
                              ("rare", 300, lambda: float(rng.random() < 0.02))]:
        differences = [round(draw(), 6) for _ in range(count)]
        interval = scipy.stats.bootstrap((differences,), np.mean, n_resamples=200_000, method="percentile", batch=1000,
                                         random_state=np.random.default_rng(1)).confidence_interval
        cases[name] = {"differences": differences, "low": interval.low, "high": interval.high,
                       "deviation": float(np.std(differences) / np.sqrt(count))}
    return cases


def main():
    rng = random.Random(1)
    plain = [q for q in questions(rng, 200, 1, 0.5) if all(normalize_answer(a) for a in q["answers"])]
    sets = {"mixed": measured(questions(rng, 400, 0.5, 0.5)), "ties": measured(questions(rng, 60, 0.6, 4)),
            "hasAnswer": measured(plain, with_squad1=True), "noAnswer": measured(questions(rng, 30, 0, 0.5)),
            "one": measured([{"answers": ["The Norman Conquest"], "text": "norman conquest!", "noAnswerScore": 0.0}]),
            "withoutWords": measured(questions(random.Random(2), 150, 1, 0.5), with_squad1=True)}
    versions = {"python": platform.python_version(), "unicode": unicodedata.unidata_version,
                "evaluate": evaluate.__version__, "scipy": scipy.__version__}
    out = {"versions": versions, "sets": sets, "characters": characters(), "bootstrap": bootstrap(rng)}
    path = Path(__file__).resolve().parent / "squad.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print({name: found["figures"]["0"] for name, found in sets.items()}, path.stat().st_size, versions)


if __name__ == "__main__":
    main()
