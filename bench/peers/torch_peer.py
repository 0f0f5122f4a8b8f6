"""PyTorch as a peer of run.ts: for each line `DTYPE N` of input, N forwards, their milliseconds as JSON.
Usage: torch_peer.py TOKENS THREADS"""
import json, sys, time, warnings
import torch
from transformers import BertConfig, BertForQuestionAnswering

warnings.filterwarnings("ignore")
tokens, threads = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(0)
models = {"fp32": BertForQuestionAnswering(BertConfig(vocab_size=28996)).eval()}
ids = torch.randint(1000, 28000, (1, tokens))
for engine in ["fbgemm", "x86", "onednn"]:
    torch.backends.quantized.engine = engine
    models[f"int8 {engine}"] = torch.ao.quantization.quantize_dynamic(
        models["fp32"], {torch.nn.Linear}, dtype=torch.qint8)
print(json.dumps({"name": f"PyTorch {torch.__version__}", "dtypes": list(models)}), flush=True)
for line in sys.stdin:
    dtype, n = line.rsplit(" ", 1)
    if dtype != "fp32":
        torch.backends.quantized.engine = dtype.split()[1]
    ms = []
    with torch.inference_mode():
        for _ in range(int(n)):
            start = time.perf_counter()
            models[dtype](ids)
            ms.append((time.perf_counter() - start) * 1e3)
    print(json.dumps(ms), flush=True)
