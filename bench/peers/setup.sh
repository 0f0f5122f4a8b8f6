#!/usr/bin/env bash
# Installs the peers into DIR: PyTorch and onnx in a venv, ONNX Runtime and transformers.js for Node, and writes as ONNX
# bert-base-cased with random weights and the embedded checkpoint, in float32 and in int8. Usage: setup.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
[ -d venv ] || python3 -m venv venv
venv/bin/pip install -q torch transformers onnx onnxruntime numpy
[ -f package.json ] || npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund onnxruntime-node onnxruntime-web @huggingface/transformers >/dev/null
venv/bin/python "$here/export_onnx.py" .
venv/bin/python "$here/export_answers.py" "$here/../../weights/minilm-l6-qa" answers
