"""Writes a checkpoint as transformers.js wants it: onnx/model.onnx, onnx/model_quantized.onnx (onnxruntime's quantize_dynamic,
int8 weights), config.json and the tokenizer. Usage: export_answers.py CHECKPOINT DIR"""
import os, shutil, sys, warnings
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForQuestionAnswering

warnings.filterwarnings("ignore")
checkpoint, out = sys.argv[1], sys.argv[2]
os.makedirs(f"{out}/onnx", exist_ok=True)
for name in ["config.json", "tokenizer.json", "tokenizer_config.json"]:
    shutil.copy(f"{checkpoint}/{name}", out)


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = AutoModelForQuestionAnswering.from_pretrained(
            checkpoint, dtype=torch.float32, attn_implementation="eager")

    def forward(self, input_ids, attention_mask, token_type_ids):
        o = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return o.start_logits, o.end_logits


ids = torch.randint(1000, 28000, (1, 64))
names, outputs = ["input_ids", "attention_mask", "token_type_ids"], ["start_logits", "end_logits"]
torch.onnx.export(Logits().eval(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), f"{out}/onnx/model.onnx",
                  input_names=names, output_names=outputs, opset_version=17, dynamo=False,
                  dynamic_axes={name: {0: "b", 1: "s"} for name in names + outputs})
quantize_dynamic(f"{out}/onnx/model.onnx", f"{out}/onnx/model_quantized.onnx", weight_type=QuantType.QInt8,
                 extra_options={"DefaultTensorType": 1})
