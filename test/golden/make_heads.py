"""Writes the goldens of the general ops and of the heads that examples/ build from them, as PyTorch and transformers compute them.

    pip install torch transformers safetensors
    python test/golden/make_heads.py

general.safetensors: `<op>/<case>/<tensor>`, inputs and y of each op.
heads/<name>/: a tiny random BERT with a head, as `save_pretrained` writes it, with the vocabulary of tiny-bert.
heads.json: what each head gives for some texts; the tokenizer's ids and types are what it gives by itself.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertForTokenClassification

OUT = Path(__file__).resolve().parent
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
torch.manual_seed(30)
NAN, INF = float("nan"), float("inf")
# Zeros of both signs, denormals, the ends of exp's range in float32, what overflows, what is no number.
HARD = torch.tensor([[0.0, -0.0, 1e-42, -1e-42, 1e-30, -1e-30, 1.5, -1.5, 5.5, -5.5, 9.0, -9.0, 18.0, -18.0, 88.0, -88.0,
                      104.0, -104.0, 1e4, -1e4, 3e38, -3e38, INF, -INF, NAN]])


def general():
    tensors = {}

    def add(op, case, y, **inputs):
        for name, value in {**inputs, "y": y}.items():
            tensors[f"{op}/{case}/{name}"] = value.detach().clone().contiguous()

    for activation in (F.gelu, torch.relu, torch.tanh, torch.sigmoid):
        # PyTorch's GELU of 3e38 is infinite, and that of infinity NaN: nothing to hold others to.
        hard = HARD[:, HARD[0].abs() < 1e5] if activation is F.gelu else HARD
        for case, x in {"hard": hard, "sweep": torch.linspace(-12, 12, 1001)[None], "5x17": torch.randn(5, 17) * 3}.items():
            add(activation.__name__, case, activation(x), x=x)
    for name, op in {"add": torch.add, "mul": torch.mul}.items():
        for case, (x, y) in {"1x1": (torch.randn(1, 1), torch.randn(1, 1)), "5x17": (torch.randn(5, 17), torch.randn(5, 17)),
                             "row-7x33": (torch.randn(7, 33), torch.randn(1, 33)),
                             "hard": (HARD.repeat(25, 1), HARD.T.repeat(1, 25))}.items():
            add(name, case, op(x, y), x=x, other=y)
    soft = {"1x1": torch.randn(1, 1), "3x17": torch.randn(3, 17) * 4, "2x384": torch.randn(2, 384) * 10,
            "equal-2x33": torch.full((2, 33), 7.0), "far-2x5": torch.tensor([[1e4, -1e4, 0, 3, 1e4], [-3e38, 3e38, 1, 0, -0.0]]),
            "infinite-3x4": torch.tensor([[-INF, 1, 2, -INF], [INF, 1, 2, 3], [NAN, 1, 2, 3]])}
    for case, x in soft.items():
        add("softmax", case, F.softmax(x, -1), x=x)
    for case, x in {"1x1": torch.randn(1, 1), "5x17": torch.randn(5, 17), "133x40": torch.randn(133, 40) * 100}.items():
        add("mean", case, x.mean(0, keepdim=True), x=x)
        add("transpose", case, x.T, x=x)
    for m, k, n in [(1, 1, 1), (1, 5, 3), (7, 33, 17), (13, 64, 30)]:
        x, other = torch.randn(m, k), torch.randn(k, n)
        add("matmul", f"{m}x{k}x{n}", x @ other, x=x, other=other)
    for name, activation in {"linearRelu": torch.relu, "linearTanh": torch.tanh}.items():
        x, weight, bias = torch.randn(7, 33), torch.randn(18, 33) / 33**0.5, torch.randn(18)
        add(name, "7x33x18", activation(F.linear(x, weight, bias)), x=x, weight=weight, bias=bias)
    table = torch.randn(9, 17)
    indices = torch.tensor([8, 0, 3, 3, 1])
    add("rows", "5of9", table[indices], x=table, indices=indices.int())
    save_file(tensors, OUT / "general.safetensors", metadata={"versions": json.dumps(VERSIONS)})


def heads():
    shape = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                 max_position_embeddings=64, initializer_range=0.2)
    texts = ["red boat by the sea", "who in the town?", "a clock: two, three (1)"]
    pairs = [("which boat?", "a red boat."), ("which boat?", "the town clock is blue - by day."), ("when?", "one day")]
    classes = {"classify": (BertForSequenceClassification, 3), "rerank": (BertForSequenceClassification, 1),
               "tokens": (BertForTokenClassification, 5)}
    found = {}
    for name, (kind, labels) in classes.items():
        model = kind(BertConfig(**shape, num_labels=labels)).eval()
        for parameter in model.parameters():  # biases and layerNorms of their own, too
            if parameter.dim() == 1:
                parameter.data += 0.2 * torch.randn_like(parameter)
        folder = OUT / "heads" / name
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text((OUT / "tiny-bert" / "vocab.txt").read_text())
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}\n')
        tokenizer = AutoTokenizer.from_pretrained(folder)
        items = []
        for given in pairs if name == "rerank" else [(text,) for text in texts]:
            inputs = tokenizer(*given, return_tensors="pt")
            with torch.inference_mode():
                logits = model(**inputs).logits[0]
            items.append({"texts": given, "ids": inputs["input_ids"][0].tolist(), "types": inputs["token_type_ids"][0].tolist(),
                          "logits": logits.tolist(), "probabilities": logits.softmax(-1).tolist()})
        found[name] = items
    (OUT / "heads.json").write_text(json.dumps({"versions": VERSIONS, **found}, indent=1) + "\n")


general()
heads()
print(VERSIONS)
