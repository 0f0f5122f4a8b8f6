"""Writes embeddings.json: sentence embeddings of the embedded checkpoint's encoder by PyTorch.

    pip install torch transformers numpy
    python test/golden/make_embeddings.py

An embedding is the mean of the last hidden states of `[CLS] sentence [SEP]` over all of its tokens, in float32, as
examples/embeddings.ts computes it. `cosines` [sentences, sentences] are those of all pairs; `centred` the same after the mean of
all embeddings was taken away from each.
"""
import hashlib
import json
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer, BertModel

OUT = Path(__file__).resolve().parent
CHECKPOINT = OUT / "../../weights/minilm-l6-qa"
SENTENCES = [
    "The ferry to the island leaves at noon.",
    "At twelve o'clock the boat sails for the isle.",
    "Our cat refuses to eat boiled carrots.",
    "The kitten will not touch cooked vegetables.",
    "Shares of the bank fell by nine percent.",
    "The lender lost a tenth of its value on the stock market.",
]

tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
model = BertModel.from_pretrained(CHECKPOINT, add_pooling_layer=False, dtype=torch.float32, attn_implementation="eager").eval()
with torch.inference_mode():
    inputs = [tokenizer(sentence, return_tensors="pt") for sentence in SENTENCES]
    embeddings = [model(**each).last_hidden_state[0].mean(0) for each in inputs]
def cosines(rows):
    unit = torch.nn.functional.normalize(rows, dim=1)
    return (unit @ unit.T).tolist()


rows = torch.stack(embeddings)
versions = {"torch": torch.__version__, "transformers": transformers.__version__,
            "minilm-l6-qa sha256": hashlib.sha256((CHECKPOINT / "model.safetensors").read_bytes()).hexdigest()}
items = [{"sentence": s, "ids": i["input_ids"][0].tolist(), "embedding": e.tolist()}
         for s, i, e in zip(SENTENCES, inputs, embeddings)]
(OUT / "embeddings.json").write_text(json.dumps({"versions": versions, "items": items, "cosines": cosines(rows),
                                             "centred": cosines(rows - rows.mean(0))}, indent=1) + "\n")
print(versions)
