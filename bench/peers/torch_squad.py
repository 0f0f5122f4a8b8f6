"""PyTorch as a peer of squad.ts: for each line `DTYPE INDEX` of input, its answer to that question of the file as JSON.
Usage: torch_squad.py SQUAD.json MODEL_DIR THREADS

What run_qa.py of Hugging Face does, one question at a time: windows of 384 tokens with stride 128, answers of at most 30
tokens, the smallest null score of all windows. `milliseconds` are from the strings to the answer."""
import json, sys, time, warnings
import numpy as np
import torch
from transformers import AutoTokenizer, BertForQuestionAnswering

warnings.filterwarnings("ignore")
torch.set_num_threads(int(sys.argv[3]))
torch.backends.quantized.engine = "fbgemm"
questions = [(qa["question"], paragraph["context"]) for article in json.load(open(sys.argv[1], encoding="utf-8"))["data"]
             for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
fp32 = BertForQuestionAnswering.from_pretrained(sys.argv[2], dtype=torch.float32).eval()
models = {"fp32": fp32, "int8": torch.ao.quantization.quantize_dynamic(fp32, {torch.nn.Linear}, dtype=torch.qint8)}
ALLOWED = np.triu(np.ones((384, 384), bool)) & ~np.triu(np.ones((384, 384), bool), 30)  # start <= end < start + 30


def answer(model, question, context):
    windows = tokenizer(question, context, truncation="only_second", max_length=384, stride=128,
                        return_overflowing_tokens=True, return_offsets_mapping=True)
    null, best, text = np.inf, -np.inf, ""
    for i, ids in enumerate(windows["input_ids"]):
        out = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([windows["token_type_ids"][i]]))
        start, end = out.start_logits[0].numpy(), out.end_logits[0].numpy()
        null = min(null, float(start[0]) + float(end[0]))
        sequence = windows.sequence_ids(i)
        passage = slice(sequence.index(1), len(ids) - 1)
        n = passage.stop - passage.start
        sums = np.where(ALLOWED[:n, :n], start[passage, None] + end[None, passage], -np.inf)
        at = int(sums.argmax())
        if sums.flat[at] > best:
            best, offsets = float(sums.flat[at]), windows["offset_mapping"][i]
            text = context[offsets[passage.start + at // n][0]:offsets[passage.start + at % n][1]]
    return {"text": text, "noAnswerScore": null - best, "windows": len(windows["input_ids"])}


print(json.dumps({"name": f"PyTorch {torch.__version__}", "dtypes": list(models)}), flush=True)
with torch.inference_mode():
    for line in sys.stdin:
        dtype, index = line.split()
        begin = time.perf_counter()
        said = answer(models[dtype], *questions[int(index)])
        print(json.dumps(said | {"milliseconds": (time.perf_counter() - begin) * 1e3}), flush=True)
