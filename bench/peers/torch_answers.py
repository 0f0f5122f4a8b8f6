"""PyTorch as a peer of run.ts --answers: for each line `DTYPE N` of input, N answers to the article's question, their
milliseconds as JSON. Usage: torch_answers.py CHECKPOINT THREADS QUESTION CONTEXT"""
import json, sys, time, warnings
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

warnings.filterwarnings("ignore")
checkpoint, threads, question, context = sys.argv[1:]
torch.set_num_threads(int(threads))
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
models = {"fp32": AutoModelForQuestionAnswering.from_pretrained(checkpoint, dtype=torch.float32).eval()}
torch.backends.quantized.engine = "x86"
models["int8"] = torch.ao.quantization.quantize_dynamic(models["fp32"], {torch.nn.Linear}, dtype=torch.qint8)


def answer(model):
    """The best span of at most 30 tokens of the passage, as transformers' former pipeline picked it."""
    inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0]
    out = model(**inputs)
    start, end = out.start_logits[0].softmax(-1), out.end_logits[0].softmax(-1)
    passage = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
    scores = (start * passage)[:, None] * (end * passage)[None, :]
    i, j = divmod(int(scores.triu().tril(29).argmax()), len(start))
    return context[offsets[i][0]:offsets[j][1]]


with torch.inference_mode():
    assert all(answer(model) == "New York Times" for model in models.values())
    print(json.dumps({"name": f"PyTorch {torch.__version__}", "dtypes": list(models)}), flush=True)
    for line in sys.stdin:
        dtype, n = line.split()
        ms = []
        for _ in range(int(n)):
            begin = time.perf_counter()
            answer(models[dtype])
            ms.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(ms), flush=True)
