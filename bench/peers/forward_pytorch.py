"""PyTorch as an engine of run.ts that computes forwards alone. Usage: forward_pytorch.py TOKENS DTYPE THREADS; DTYPE is fp32, or int8 and
one of its engines."""
import json, sys, time, warnings

warnings.filterwarnings("ignore")
wall, cpu = time.perf_counter(), time.process_time()
import torch
from transformers import BertConfig, BertForQuestionAnswering

tokens, dtype, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(0)
model = BertForQuestionAnswering(BertConfig(vocab_size=28996)).eval()
ids = torch.randint(1000, 28000, (1, int(tokens)))
if dtype != "fp32":
    torch.backends.quantized.engine = dtype.split()[1]
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
with torch.inference_mode():
    model(ids)
    start = {"milliseconds": (time.perf_counter() - wall) * 1e3, "cpu": (time.process_time() - cpu) * 1e3, "megabytes": 0}
    print(json.dumps({"engine": "PyTorch", "version": torch.__version__, "dtype": dtype, "start": start}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(json.loads(line)["times"]):
            begin = time.perf_counter()
            model(ids)
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps({"times": times}), flush=True)
