"""Writes article-trace.safetensors.gz: every integer that PyTorch's int8 model makes of the article's question on its way.

    python test/golden/make_trace.py [eager | sdpa] [FILE]

For each linear by its name in the checkpoint (`query` stands for `key` and `value`, which read the same input): `xq` U8
[tokens, in], `scale` and `zeroPoint` [1], and, of the activations that lie within a thousandth of a step of where the rounding
goes the other way, the places `at` in the input and the values `x` themselves. Last the `logits` [tokens, 2]. Those of
`eager` are the goldens of article.json on a machine like theirs (README.md), or the script fails.
"""
import gzip
import json
import sys
import warnings

import torch
import transformers
from safetensors.torch import save
from torch.ao.nn.quantized.dynamic import Linear as Int8Linear

from make_numeric import CHECKPOINT, OUT, VERSIONS, int8_steps, ints, to_int8, under

attention = sys.argv[1] if len(sys.argv) > 1 else "eager"
file = sys.argv[2] if len(sys.argv) > 2 else OUT / "article-trace.safetensors.gz"
warnings.simplefilter("ignore")
torch.backends.quantized.engine = VERSIONS["engine"]
torch.set_num_threads(1)
golden = json.loads((OUT / "article.json").read_text())
model = to_int8(transformers.BertForQuestionAnswering.from_pretrained(
    CHECKPOINT, dtype=torch.float32, attn_implementation=attention).eval())

seen = {}
layers = {name: module for name, module in model.named_modules() if isinstance(module, Int8Linear)}
for name, layer in layers.items():
    layer.register_forward_hook(lambda _, x, y, name=name: seen.update({name: (x[0][0], y[0])}))
with torch.inference_mode():
    model(input_ids=torch.tensor([golden["inputIds"]]), token_type_ids=torch.tensor([golden["typeIds"]]))
    tensors, integers, near = {}, 0, 0
    for name, (x, y) in seen.items():
        steps = int8_steps(layers[name], x, y)
        if name.endswith((".key", ".value")):
            continue
        scaled = (x.double() / steps["xScale"].double()).flatten()
        at = ((scaled - scaled.floor() - 0.5).abs() < 1e-3).nonzero().flatten()
        tensors |= under(name, scale=steps["xScale"], zeroPoint=steps["zeroPoint"], xq=steps["xq"],
                         at=ints(*at.tolist()), x=x.flatten()[at])
        integers, near = integers + x.numel(), near + len(at)
logits = seen["qa_outputs"][1]
tensors["logits"] = logits
if attention == "eager":
    want = torch.tensor([golden["int8"]["startLogits"], golden["int8"]["endLogits"]]).T
    assert logits.equal(want), f"logits differ from article.json by up to {(logits - want).abs().max()}"
data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"versions": json.dumps(VERSIONS)})
with open(file, "wb") as out:
    out.write(gzip.compress(data, 9, mtime=0))
print(f"{len(tensors) // 5} inputs, {integers} integers, {near} near a border")
