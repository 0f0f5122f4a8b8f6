"""Writes fp32.onnx and int8.onnx (onnxruntime's quantize_dynamic, int8 weights) of bert-base-cased's shape with random
weights. Usage: export_onnx.py DIR"""
import os, sys, warnings
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertConfig, BertForQuestionAnswering

warnings.filterwarnings("ignore")
out = sys.argv[1]
torch.manual_seed(0)


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = BertForQuestionAnswering(BertConfig(vocab_size=28996, attn_implementation="eager"))

    def forward(self, input_ids, token_type_ids):
        o = self.model(input_ids=input_ids, token_type_ids=token_type_ids)
        return o.start_logits, o.end_logits


ids = torch.randint(1000, 28000, (1, 64))
names = ["input_ids", "token_type_ids"]
torch.onnx.export(Logits().eval(), (ids, torch.zeros_like(ids)), f"{out}/fp32.onnx", input_names=names,
                  output_names=["start", "end"], dynamic_axes={k: {1: "s"} for k in names + ["start", "end"]},
                  opset_version=17, dynamo=False)
quantize_dynamic(f"{out}/fp32.onnx", f"{out}/int8.onnx", weight_type=QuantType.QInt8,
                 extra_options={"DefaultTensorType": 1})
for name in ["fp32", "int8"]:
    print(f"{name}.onnx {os.path.getsize(f'{out}/{name}.onnx') / 2**20:.2f} MB")
