"""Writes the ops of ops.ts as ONNX models: 512 x 512 float32, each op 8 times in a row. Usage: export_ops.py DIR"""
import sys
from onnx import TensorProto, helper, save

SIZE, CHAIN = 512, 8
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE, SIZE])
for op in ["MatMul", "Softmax", "Add"]:
    inputs = ["x"] if op == "Softmax" else ["x", "factor"]
    names = ["x"] + [f"y{i}" for i in range(1, CHAIN)] + ["y"]
    nodes = [helper.make_node(op, [names[i], *inputs[1:]], [names[i + 1]]) for i in range(CHAIN)]
    graph = helper.make_graph(nodes, op, [value(name) for name in inputs], [value("y")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), f"{sys.argv[1]}/{op.lower()}.onnx")
