"""How far PyTorch's int8 model is from itself: prints, for other attention, CPU code and rounding of floats, the largest logit
difference to the goldens of the 30 questions (minilm-questions.json), median and maximum over the questions.

    for cpu in avx512 avx2 default; do ATEN_CPU_CAPABILITY=$cpu python test/golden/spread.py; done
"""
import contextlib, json, statistics
from pathlib import Path
import torch
from safetensors.torch import load_file
from transformers import BertForQuestionAnswering
from make_numeric import exact_floats

HERE = Path(__file__).parent
torch.set_num_threads(1)
torch.backends.quantized.engine = "fbgemm"
items = json.loads((HERE / "minilm-questions.json").read_text())["items"]
goldens = load_file(HERE / "minilm-logits.safetensors")

for attention, rounding, name in [("eager", contextlib.nullcontext, "eager"), ("sdpa", contextlib.nullcontext, "sdpa"),
                                  ("eager", exact_floats, "eager, floats in float64")]:
    model = BertForQuestionAnswering.from_pretrained(
        HERE.parent.parent / "weights" / "minilm-l6-qa", dtype=torch.float32, attn_implementation=attention).eval()
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    worst = []
    for i, item in enumerate(items):
        with torch.no_grad(), rounding():
            out = model(input_ids=torch.tensor([item["inputIds"]]), token_type_ids=torch.tensor([item["typeIds"]]))
        logits = {"start": out.start_logits[0], "end": out.end_logits[0]}
        worst.append(max((logits[k] - goldens[f"{i}/int8/{k}"]).abs().max().item() for k in logits))
    print(f"| {name} | {torch.backends.cpu.get_cpu_capability()} | {statistics.median(worst):.2g} | {max(worst):.2g} |")
