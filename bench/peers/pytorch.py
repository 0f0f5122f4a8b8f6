"""PyTorch as an engine of run.ts: serve.ts has the conversation. Usage: pytorch.py MODEL DTYPE THREADS QUESTION CONTEXT

What run_qa.py of Hugging Face does, one question at a time: windows of 384 tokens with stride 128, answers of at most 30
tokens, the smallest null score of all windows."""
import json, re, sys, time, warnings

warnings.filterwarnings("ignore")
wall, cpu = time.perf_counter(), time.process_time()
import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

checkpoint, dtype, threads, question, context = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.backends.quantized.engine = "x86"
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
model = AutoModelForQuestionAnswering.from_pretrained(checkpoint, dtype=torch.float32).eval()
if dtype == "int8":
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
ALLOWED = np.triu(np.ones((384, 384), bool)) & ~np.triu(np.ones((384, 384), bool), 30)  # start <= end < start + 30


def answer(question, context):
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


with torch.inference_mode():
    answer(question, context)
    peak = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024
    start = {"milliseconds": (time.perf_counter() - wall) * 1e3, "cpu": (time.process_time() - cpu) * 1e3, "megabytes": peak}
    print(json.dumps({"engine": "PyTorch", "version": torch.__version__, "dtype": dtype, "start": start}), flush=True)
    for line in sys.stdin:
        asked, times = json.loads(line), []
        for _ in range(asked["times"]):
            begin = time.perf_counter()
            said = answer(asked["question"], asked["context"])
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(said | {"times": times}), flush=True)
