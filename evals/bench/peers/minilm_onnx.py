"""MiniLM in onnxruntime, for evals/bench/encoders.py; runs in an environment of its own.

    minilm_onnx.py WEIGHTS WORK NAME float32|int8 THREADS

The packages that carry the model have no ONNX file, so the graph is made here from the same weights, operator by operator.
Texts of like length share a batch and are padded, as the runtime needs rectangles. Prints one JSON list. Source: ours.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file
from tokenizers import Tokenizer

HEADS, LAYERS, WIDTH, LONGEST = 12, 6, 384, 256
BATCH_TOKENS = 1000


class Graph:
    """Nodes and constants, named as they are added."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.nodes, self.constants = [], {}

    def constant(self, value, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, operator, *inputs, **attributes):
        output = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(self, x, name):
        weight = self.constant(self.tensors[f"{name}.weight"].T, f"{name}.weight")
        return self.add("Add", self.add("MatMul", x, weight), self.constant(self.tensors[f"{name}.bias"]))

    def norm(self, x, name):
        weight, bias = (self.constant(self.tensors[f"{name}.LayerNorm.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-12)

    def heads(self, x):
        shape = self.constant(np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=[0, 2, 1, 3])


def made(tensors):
    """The model: `ids` and `mask` (texts, tokens) in, unit vectors out."""
    graph = Graph(tensors)
    words = graph.add("Gather", graph.constant(tensors["embeddings.word_embeddings.weight"], "words"), "ids")
    places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    place = graph.add("Gather", graph.constant(places, "places"), "place")
    x = graph.norm(graph.add("Add", words, place), "embeddings")
    outside = graph.add("Unsqueeze", "mask", graph.constant(np.array([1, 2], np.int64)))
    one = graph.constant(np.float32(1))
    bias = graph.add("Mul", graph.add("Sub", outside, one), graph.constant(np.float32(1e9)))
    half, root = graph.constant(np.float32(0.5)), graph.constant(np.float32(2**0.5))
    scale = graph.constant(np.float32((WIDTH // HEADS) ** -0.5))
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        q, k, v = (graph.heads(graph.linear(x, f"{layer}.attention.self.{p}")) for p in ("query", "key", "value"))
        near = graph.add("MatMul", graph.add("Mul", q, scale), graph.add("Transpose", k, perm=[0, 1, 3, 2]))
        weights = graph.add("Softmax", graph.add("Add", near, bias), axis=-1)
        seen = graph.add("Transpose", graph.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        seen = graph.add("Reshape", seen, graph.constant(np.array([0, 0, WIDTH], np.int64)))
        output = f"{layer}.attention.output"
        x = graph.norm(graph.add("Add", x, graph.linear(seen, f"{output}.dense")), output)
        inner = graph.linear(x, f"{layer}.intermediate.dense")
        bell = graph.add("Mul", graph.add("Add", graph.add("Erf", graph.add("Div", inner, root)), one), half)
        inner = graph.add("Mul", inner, bell)
        x = graph.norm(graph.add("Add", x, graph.linear(inner, f"{layer}.output.dense")), f"{layer}.output")
    inside = graph.add("Unsqueeze", "mask", graph.constant(np.array([2], np.int64)))
    axis = graph.constant(np.array([1], np.int64))
    # A mean and a sum point the same way, and the vectors are made unit vectors anyway.
    total = graph.add("ReduceSum", graph.add("Mul", x, inside), axis, keepdims=0)
    graph.nodes.append(helper.make_node("LpNormalization", [total], ["out"], axis=-1, p=2))
    text = ["texts", "tokens"]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, text),
        helper.make_tensor_value_info("place", TensorProto.INT64, ["tokens"]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, text),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["texts", WIDTH])]
    body = helper.make_graph(graph.nodes, "minilm", inputs, outputs, list(graph.constants.values()))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def batches(lengths):
    """Places of texts of like length, about BATCH_TOKENS tokens together with their padding."""
    batch = []
    for place in np.argsort(lengths, kind="stable"):
        if batch and (len(batch) + 1) * lengths[place] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(int(place))
    if batch:
        yield batch


def main():
    weights, work, name, kind, threads = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        sys.argv[4],
        int(sys.argv[5]),
    )
    file = work / f"{kind}.onnx"
    if not file.exists():
        onnx.save(made(load_file(weights / "model.safetensors")), work / "float32.onnx")
        quantize_dynamic(work / "float32.onnx", work / "int8.onnx", weight_type=QuantType.QInt8)
    paragraphs = json.loads((work / "paragraphs.json").read_text())
    questions = json.loads((work / "questions.json").read_text())

    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter()

    def encode(texts):
        tokens = [entry.ids for entry in tokenizer.encode_batch(texts)]
        rows = np.empty((len(texts), WIDTH), np.float32)
        for batch in batches([len(ids) for ids in tokens]):
            length = max(len(tokens[i]) for i in batch)
            ids = np.zeros((len(batch), length), np.int64)
            mask = np.zeros((len(batch), length), np.float32)
            for row, i in enumerate(batch):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            feed = {"ids": ids, "mask": mask, "place": np.arange(length, dtype=np.int64)}
            rows[batch] = session.run(None, feed)[0]
        return rows

    encode(questions[:5])
    began_encoding, cpu = time.perf_counter(), time.process_time()
    rows = encode(paragraphs)
    encoded, cpu_encoded = time.perf_counter(), time.process_time()
    asked, times = [], []
    for question in questions:
        start = time.perf_counter()
        asked.append(encode([question]))
        times.append(time.perf_counter() - start)
    cpu_asked = time.process_time()
    grown = psutil.Process().memory_info().rss - before
    np.savez(work / f"{name}.npz", paragraphs=rows, questions=np.concatenate(asked))
    measured = [
        loaded - began,
        grown / (1 << 20),
        len(paragraphs) / (encoded - began_encoding),
        float(np.median(times)) * 1000,
        (cpu_encoded - cpu) / len(paragraphs) * 1000,
        (cpu_asked - cpu_encoded) / len(questions) * 1000,
    ]
    print(json.dumps(measured))


main()
