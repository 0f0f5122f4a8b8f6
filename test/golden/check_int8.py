"""Compares an int8 checkpoint that `npm run convert` wrote with PyTorch's quantize_dynamic of its source: every linear's
integers and scale, as Python's safetensors reads them, must be equal.

python test/golden/check_int8.py INT8_FOLDER SOURCE_FOLDER   (torch 2.15.0, transformers 5.23.0, safetensors 0.8)
"""
import sys
import torch
from safetensors.torch import load_file
from transformers import BertForQuestionAnswering

ours = load_file(f'{sys.argv[1]}/model.safetensors')
model = BertForQuestionAnswering.from_pretrained(sys.argv[2]).float().eval()
quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
linears = wrong = 0
for name, module in quantized.named_modules():
    if not isinstance(module, torch.ao.nn.quantized.dynamic.Linear) or 'pooler' in name:
        continue
    weight = module.weight()
    q, scale = ours[f'{name}.weight'], ours[f'{name}.weight_scale']
    linears += 1
    same = torch.equal(q, weight.int_repr()) and scale.item() == torch.tensor(weight.q_scale()).float().item()
    if not (same and torch.equal(q.float() * scale, weight.dequantize())):
        wrong += 1
        print('differs:', name)
floats = sum(not torch.equal(ours[n], t) for n, t in model.state_dict().items() if n in ours and ours[n].dtype == torch.float32)
print(f'torch {torch.__version__}: {linears} linears, {wrong} differ; {floats} other tensors differ')
sys.exit(wrong + floats > 0)
