"""PyTorch as an engine of run.ts and squad.ts: engines.ts has the job, serve.ts the conversation. Usage: pytorch.py JOB

Answers are what run_qa.py of Hugging Face gives, one question at a time: windows of 384 tokens with stride 128, answers of at
most 30 tokens, the smallest null score of all windows. Forwards are of bert-base-cased's shape, with random weights; their int8
names one of PyTorch's engines."""
import json, re, sys, time, warnings

warnings.filterwarnings("ignore")
wall, cpu = time.perf_counter(), time.process_time()
import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, BertConfig, BertForQuestionAnswering

job = json.loads(sys.argv[1])
precision, engine = f"{job['dtype']} x86".split()[:2]
torch.set_num_threads(job["threads"])
torch.backends.quantized.engine = engine
if job["what"] == "forward":
    torch.manual_seed(0)
    model = BertForQuestionAnswering(BertConfig(vocab_size=28996)).eval()
    ids = torch.randint(1000, 28000, (1, job["tokens"]))
else:
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForQuestionAnswering.from_pretrained(job["model"], dtype=torch.float32).eval()
if precision == "int8":
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


def forward(question, context):
    model(ids)
    return {}


answer = forward if job["what"] == "forward" else answer
with torch.inference_mode():
    answer(job["question"], job["context"])
    peak = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024
    start = {"milliseconds": (time.perf_counter() - wall) * 1e3, "cpu": (time.process_time() - cpu) * 1e3, "megabytes": peak}
    print(json.dumps({"engine": "PyTorch", "version": torch.__version__, "dtype": job["dtype"], "start": start}), flush=True)
    for line in sys.stdin:
        asked, times = json.loads(line), []
        for _ in range(asked["times"]):
            begin = time.perf_counter()
            said = answer(asked["question"], asked["context"])
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(said | {"times": times}), flush=True)
