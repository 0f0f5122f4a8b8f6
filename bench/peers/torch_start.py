"""PyTorch from import to the first answer: wall ms, CPU ms and peak MB as JSON. Usage: torch_start.py CHECKPOINT DTYPE QUESTION CONTEXT"""
import json, re, sys, time, warnings

warnings.filterwarnings("ignore")
wall, cpu = time.perf_counter(), time.process_time()
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

checkpoint, dtype, question, context = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
model = AutoModelForQuestionAnswering.from_pretrained(checkpoint, dtype=torch.float32).eval()
if dtype == "int8":
    torch.backends.quantized.engine = "x86"
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
with torch.inference_mode():
    inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0]
    out = model(**inputs)
    text = context[offsets[out.start_logits.argmax()][0]:offsets[out.end_logits.argmax()][1]]
assert text == "New York Times", text
peak = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([[(time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, peak]]))
