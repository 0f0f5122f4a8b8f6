#!/usr/bin/env bash
# Installs the peers into DIR: PyTorch and onnx in a venv, ONNX Runtime for Node and WebAssembly, and writes
# bert-base-cased with random weights as fp32.onnx and int8.onnx. Usage: setup.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
[ -d venv ] || python3 -m venv venv
venv/bin/pip install -q torch transformers onnx onnxruntime numpy
[ -f package.json ] || npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund onnxruntime-node onnxruntime-web >/dev/null
venv/bin/python "$here/export_onnx.py" .
