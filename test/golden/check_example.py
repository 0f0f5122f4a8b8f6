"""PyTorch's numbers for the worked examples of docs/quantization.md: `python test/golden/check_example.py`, from the
repository's root. Prints each one's verdict; exit code 1 where one differs."""

import json
import re
import sys

import torch

text = open("docs/quantization.md", encoding="utf-8").read()


def numbers(part):
    lines = (re.match(r"(.+?) += (\[.*)", line) for line in part.split("\n"))
    return {line.group(1): torch.tensor(json.loads(line.group(2))) for line in lines if line}


def verdicts(block):
    given, torch_scheme, _ = block.split("\n\n")
    given, shown = numbers(given), numbers(torch_scheme)
    linear = torch.nn.Linear(3, 2)
    linear.weight.data, linear.bias.data = given["weight"], given["bias"]
    dynamic = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear}, dtype=torch.qint8)
    weight = dynamic[0].weight()
    scale, zero_point = torch._choose_qparams_per_tensor(given["x"], reduce_range=True)
    float32_y = torch.nn.functional.linear(given["x"], given["weight"], given["bias"])
    got = {
        "scale": torch.full((2,), scale),
        "zeroPoint": torch.full((2,), zero_point),
        "wScale": torch.full((2,), weight.q_scale()),
        "wq": weight.int_repr(),
        "y": dynamic(given["x"]),
    }
    equal = {name: bool((shown[name] == value).all()) for name, value in got.items()}
    equal["y, float32"] = bool(torch.allclose(given["y, float32"], float32_y, rtol=1e-6, atol=0))
    return equal


blocks = re.findall(r"<!-- (example\S*) -->\n```\n(.*?)```", text, re.S)
found = {name: verdicts(block) for name, block in blocks}
print(f"torch {torch.__version__}, {torch.backends.quantized.engine}: {found}")
sys.exit(0 if len(found) == 2 and all(all(equal.values()) for equal in found.values()) else 1)
