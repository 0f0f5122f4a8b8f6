"""Writes configs.json: what transformers makes of the small checkpoints under other configurations and tensor names.

    python test/golden/make_configs.py   (torch 2.15.0, transformers 5.24.0; with compressed-tensors 0.20.1 and accelerate
                                          in PYTHONPATH it also reads int8 files; no network)

- `configs`: a model of checkpoints/, keys of config.json to set, and the logits; or `error`, what transformers says; or
  `missing`, how many tensors it did not find and made up.
- `files`: the same for the names of the tensors, and for keys of the header.
- `floatHead`: logits of quantize_dynamic of all linears but qa_outputs.
"""
import copy, json, os, shutil, struct, sys, tempfile, warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
HERE = Path(__file__).parent
IDS = {"roberta": [0, 5, 60, 70, 2, 2, 80, 9, 2]}
DEFAULT_IDS = [2, 5, 60, 70, 3, 80, 9, 3]

CONFIGS = {
    "bert": [
        {}, {"hidden_act": "gelu_python"}, {"hidden_act": "gelu_new"}, {"hidden_act": "gelu_fast"}, {"hidden_act": "relu"},
        {"hidden_act": "gelu_10"}, {"hidden_act": "GELU"}, {"layer_norm_eps": 0.1}, {"layer_norm_eps": 0.5},
        {"layer_norm_eps": 1.0}, {"layer_norm_eps": 1e-5}, {"num_attention_heads": 4}, {"num_hidden_layers": 1},
        {"num_hidden_layers": 3}, {"is_decoder": True}, {"num_labels": 3}, {"model_type": "roberta"},
        {"model_type": "electra"}, {"type_vocab_size": 1}, {"pad_token_id": 5}, {"chunk_size_feed_forward": 4},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    ],
    "distilbert": [
        {}, {"layer_norm_eps": 0.5}, {"layer_norm_eps": "x"}, {"activation": "gelu_python"}, {"activation": "relu"},
        {"hidden_act": "relu"}, {"n_heads": 4}, {"num_attention_heads": 4}, {"num_attention_heads": 2}, {"num_hidden_layers": 1},
        {"hidden_size": 32}, {"intermediate_size": 5}, {"sinusoidal_pos_embds": True},
    ],
    "electra-small": [{}, {"layer_norm_eps": 0.5}, {"embedding_size": 16}, {"hidden_act": "gelu_python"}],
    "electra-base": [{}, {"embedding_size": 8}],
    "roberta": [{}, {"pad_token_id": 0}, {"pad_token_id": 2}, {"pad_token_id": 4}, {"layer_norm_eps": 0.5}, {"type_vocab_size": 2}],
}
RENAMES = {
    "module.": lambda name: f"module.{name}",
    "_orig_mod.": lambda name: f"_orig_mod.{name}",
    "base_model.model.": lambda name: f"base_model.model.{name}",
    "no prefix": lambda name: name.removeprefix("bert."),
    "gamma and beta": lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
}


def logits(model, ids):
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]))
    return [round(x, 6) for x in torch.stack([out.start_logits[0], out.end_logits[0]], -1).flatten().tolist()]


def outcome(name, folder):
    try:
        model, info = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
        if info["missing_keys"]:
            return {"missing": len(info["missing_keys"])}
        return {"logits": logits(model.eval(), IDS.get(name, DEFAULT_IDS))}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}


def copied(name, folder):
    for file in ("config.json", "model.safetensors"):
        shutil.copy(HERE / "checkpoints" / name / file, folder / file)


def main():
    result = {"transformers": transformers.__version__, "ids": {**{n: DEFAULT_IDS for n in CONFIGS}, **IDS}, "configs": [], "files": []}
    for name, changes in CONFIGS.items():
        for change in changes:
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                copied(name, folder)
                config = json.loads((folder / "config.json").read_text())
                (folder / "config.json").write_text(json.dumps({**config, **change}))
                result["configs"].append({"model": name, "change": change, **outcome(name, folder)})
    tensors = load_file(HERE / "checkpoints/bert/model.safetensors")
    for label, rename in RENAMES.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            copied("bert", folder)
            save_file({rename(k): v for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
            result["files"].append({"names": label, **outcome("bert", folder)})
    for metadata in ("null", "{}"):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            copied("bert", folder)
            data = (folder / "model.safetensors").read_bytes()
            end = 8 + struct.unpack("<Q", data[:8])[0]
            header = json.loads(data[8:end])
            header.pop("__metadata__", None)
            text = ('{"__metadata__":%s,' % metadata + json.dumps(header)[1:]).encode()
            (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[end:])
            accepted = True
            try:
                load_file(folder / "model.safetensors")
            except Exception:
                accepted = False
            result["files"].append({"metadata": metadata, "accepted": accepted})
    model = AutoModelForQuestionAnswering.from_pretrained(HERE / "checkpoints/bert").eval()
    linears = {n: torch.ao.quantization.default_dynamic_qconfig for n, m in model.named_modules()
               if isinstance(m, torch.nn.Linear) and n != "qa_outputs"}
    int8 = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), linears, dtype=torch.qint8)
    assert type(int8.qa_outputs) is torch.nn.Linear
    result["floatHead"] = logits(int8, DEFAULT_IDS)
    for each in result["configs"] + result["files"]:
        print({**each, **({"logits": each["logits"][:2]} if "logits" in each else {})})
    (HERE / "configs.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


main()
