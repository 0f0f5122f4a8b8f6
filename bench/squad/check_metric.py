"""Computes the figures of a file of predictions by Hugging Face's squad_v2 metric, and how far ours are from them.

    pip install evaluate
    python bench/squad/check_metric.py PREDICTIONS.jsonl SQUAD.json METRIC [REPORT.json]

METRIC: the folder metrics/squad_v2 of a clone of huggingface/evaluate. REPORT: what `evaluate --json` wrote of the same
predictions, whose threshold counts. Predictions of a sample are measured as one.
"""
import json
import sys

import evaluate

predictions_path, squad_path, metric_path, *report_path = sys.argv[1:]
header, *lines = [json.loads(line) for line in open(predictions_path, encoding="utf-8")]
report = json.load(open(report_path[0], encoding="utf-8")) if report_path else None
threshold = report["threshold"] if report else 0.0
variants = {}
for line in lines:
    variants.setdefault(line["variant"], {})[line["id"]] = line
questions = {qa["id"]: qa for article in json.load(open(squad_path, encoding="utf-8"))["data"]
             for paragraph in article["paragraphs"] for qa in paragraph["qas"]}
metric = evaluate.load(metric_path)
for name, said in variants.items():
    ids = [id for id in questions if id in said]  # in the file's order, in which equal scores are taken
    figures = metric.compute(
        predictions=[{"id": id, "prediction_text": said[id]["text"], "no_answer_probability": said[id]["noAnswerScore"]}
                     for id in ids],
        references=[{"id": id, "answers": {"text": [answer["text"] for answer in questions[id]["answers"]],
                                           "answer_start": [0] * len(questions[id]["answers"])}} for id in ids],
        no_answer_threshold=threshold)
    print(name, json.dumps(figures))
    if report:
        ours = next(variant["figures"] for variant in report["variants"] if variant["name"] == name)
        assert ours.keys() == figures.keys(), (ours.keys(), figures.keys())
        print(f"  largest difference to ours, of {len(figures)} figures:", max(abs(ours[k] - figures[k]) for k in figures))
