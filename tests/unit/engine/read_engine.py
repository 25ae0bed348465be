#!/usr/bin/env python3
"""read_engine.py ENGINE INPUT.npy LOGITS.npy: a reader of engine files made from
docs/engine-format.md alone, with nothing but Python's standard library.

Checks every rule of the page but the hashes, runs the network from the graph and the canonical
weights, and fails unless its logits are those recorded from PyTorch.
"""
import ast
import math
import struct
import sys
from array import array

LIMIT = 1e-3
NONE = 0xFFFFFFFF
SECTIONS = ["facts", "graph", "steps", "mask values", "weights", "packed weights"]
CONV, CONV_TRANSPOSE, NORM, RELU, POOL, UPSAMPLE, PAD, CONCAT = range(1, 9)


def require(condition, what):
    if not condition:
        sys.exit(f"read_engine.py: {what}")


class Reader:
    """Reads forward through bytes and never past their end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        require(self.at + size <= len(self.data), "a section ends early")
        self.at += size
        return self.data[self.at - size:self.at]

    def numbers(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def u32(self):
        return self.numbers("I")[0]

    def text(self, data):
        require(all(b >= 0x20 and b != 0x7F for b in data), "a text has control characters")
        return data.decode()

    def field(self, size):
        text, _, rest = self.take(size).partition(b"\0")
        require(len(text) < size and not any(rest), "a field does not end in zeros")
        return self.text(text)

    def name(self):
        return self.text(self.take(self.numbers("H")[0]))

    def finish(self, what):
        require(self.at == len(self.data), f"{what}: bytes are left over")


def align(position, alignment):
    return -(-position // alignment) * alignment


def split(data):
    header = Reader(data)
    require(header.take(8) == b"\x89UNE\r\n\x1a\n", "no magic")
    version, count, size = header.numbers("IIQ")
    require((version, count, size) == (6, 6, len(data)), "version, sections or size are wrong")
    end, sections = 280, {}
    for number, name in enumerate(SECTIONS, 1):
        found, reserved, offset, size = header.numbers("IIQQ")
        header.take(16)
        require((found, reserved) == (number, 0), f"entry {number} is wrong")
        require(offset == align(end, 64 if number < 5 else 4096), f"{name}: wrong offset")
        require(not any(data[end:offset]), f"padding before {name} is not zero")
        end = offset + size
        sections[name] = data[offset:end]
    require(header.at == 264 and end == len(data), "the table or the file has a wrong size")
    return sections


def read_facts(data):
    r = Reader(data)
    facts = {"architecture": r.field(48), "precision": r.field(16)}
    names = ("in", "classes", "width", "height_tuned", "width_tuned", "normalize")
    facts.update(zip(names, r.numbers("6I")))
    facts["parameters"], facts["scale"] = r.numbers("Qd")
    facts["mean"], facts["std"] = r.numbers("16f"), r.numbers("16f")
    facts["mask values"], facts["mask channels"] = r.numbers("II")
    r.finish("facts")
    require(len(data) == 240, "the facts are of a wrong size")
    require(facts["precision"] in ("fp32", "tf32", "fp16", "bf16", "int8", "fp8"), "no such precision")
    return facts


def read_graph(data, weights):
    r, position = Reader(data), 0
    count, nodes, source, result, sigmoid, tf32, normalize = r.numbers("7I")
    require(sigmoid in (0, 1) and tf32 in (0, 1) and normalize in (1, 2, 3), "the graph's head is wrong")
    channels, types = [], []
    for _ in range(count):
        channels.append(r.u32())
        types.append(r.u32())
        zero = r.u32()
        require(zero == 0 or types[-1] == 3 and zero < 256, "a value has a wrong zero")
        r.name()
    require(all(t in (1, 2, 3, 4, 5) for t in types), "a value is of no known type")
    graph = {"channels": channels, "types": types, "input": source, "output": result, "nodes": []}
    for _ in range(nodes):
        names = ("op", "relu", "kh", "kw", "stride", "padding", "upsampled", "output",
                 "pooled", "head")
        node = dict(zip(names, r.numbers("10I")))
        node["inputs"] = [r.u32() for _ in range(r.u32())]
        node["constants"] = []
        for length in r.numbers("6Q"):
            node["constants"].append(array("f", weights[position:position + 4 * length]))
            position += align(4 * length, 64)
        node["name"] = r.name()
        up, most = node["upsampled"], len(node["inputs"]) - 1
        require(up <= most if node["op"] == CONV else up == 0, f"{node['name']} up-samples nothing")
        graph["nodes"].append(node)
    r.finish("graph")
    require(position == len(weights), "weights are left over")
    return graph


def read_steps(data, graph):
    r = Reader(data)
    tier = r.field(16)
    kernels = [r.name() for _ in range(r.u32())]
    r.finish("steps")
    headed = any(node["head"] == graph["output"] for node in graph["nodes"])
    require(len(kernels) == 1 + len(graph["nodes"]) + (not headed), "the steps are miscounted")
    return tier, kernels


# A tensor is a list of planes, a plane a list of rows.

def window_sum(planes, weight, first, node, y, x):
    total, at = 0.0, first
    for plane in planes:
        for ky in range(node["kh"]):
            row = y * node["stride"] - node["padding"] + ky
            for kx in range(node["kw"]):
                column = x * node["stride"] - node["padding"] + kx
                if 0 <= row < len(plane) and 0 <= column < len(plane[0]):
                    total += weight[at] * plane[row][column]
                at += 1
    return total


def conv(planes, node, weight, bias):
    window = len(planes) * node["kh"] * node["kw"]
    height = (len(planes[0]) + 2 * node["padding"] - node["kh"]) // node["stride"] + 1
    width = (len(planes[0][0]) + 2 * node["padding"] - node["kw"]) // node["stride"] + 1
    result = []
    for o in range(len(weight) // window):
        start = bias[o] if bias else 0.0
        result.append([[start + window_sum(planes, weight, o * window, node, y, x)
                        for x in range(width)] for y in range(height)])
    return result


def conv_transpose(planes, node, weight, bias):
    kh, kw = node["kh"], node["kw"]
    outs = len(weight) // (len(planes) * kh * kw)
    height, width = len(planes[0]) * kh, len(planes[0][0]) * kw
    return [[[(bias[o] if bias else 0.0) +
              sum(plane[y // kh][x // kw] *
                  weight[((i * outs + o) * kh + y % kh) * kw + x % kw]
                  for i, plane in enumerate(planes))
              for x in range(width)] for y in range(height)] for o in range(outs)]


def positions(size):
    """Where each of 2 × size outputs lies between two inputs, corners aligned."""
    result = []
    for i in range(2 * size):
        place = i * (size - 1) / (2 * size - 1)
        low = min(math.floor(place), size - 1)
        result.append((low, min(low + 1, size - 1), place - low))
    return result


def upsample(planes):
    rows, columns = positions(len(planes[0])), positions(len(planes[0][0]))
    result = []
    for plane in planes:
        wide = [[row[a] * (1 - f) + row[b] * f for a, b, f in columns] for row in plane]
        result.append([[u * (1 - f) + v * f for u, v in zip(wide[a], wide[b])]
                       for a, b, f in rows])
    return result


def pad(planes, like):
    height, width = len(like[0]), len(like[0][0])
    top, left = (height - len(planes[0])) // 2, (width - len(planes[0][0])) // 2

    def at(plane, y, x):
        inside = 0 <= y - top < len(plane) and 0 <= x - left < len(plane[0])
        return plane[y - top][x - left] if inside else 0.0
    return [[[at(plane, y, x) for x in range(width)] for y in range(height)] for plane in planes]


def pool(planes):
    return [[[max(plane[2 * y][2 * x], plane[2 * y][2 * x + 1], plane[2 * y + 1][2 * x],
                  plane[2 * y + 1][2 * x + 1]) for x in range(len(plane[0]) // 2)]
             for y in range(len(plane) // 2)] for plane in planes]


def run_node(node, sources):
    weight, bias = node["constants"][:2]
    if node["op"] == CONV:
        up = node["upsampled"]
        if up > 0:
            sources[up] = pad(upsample(sources[up]), sources[0])
        result = conv(sum(sources, []), node, weight, bias)
    elif node["op"] == CONV_TRANSPOSE:
        result = conv_transpose(sources[0], node, weight, bias)
    elif node["op"] == UPSAMPLE:
        result = upsample(sources[0])
    elif node["op"] == POOL:
        result = pool(sources[0])
    else:
        require(False, f"{node['name']}: operation {node['op']} has no place in this test")
    if node["op"] in (CONV_TRANSPOSE, UPSAMPLE) and len(sources) == 2:
        result = pad(result, sources[1])
    if node["relu"]:
        result = [[[max(v, 0.0) for v in row] for row in plane] for plane in result]
    return result


def run(graph, planes):
    values = {graph["input"]: planes}
    for node in graph["nodes"]:
        result = run_node(node, [values[i] for i in node["inputs"]])
        if node["output"] != NONE:
            values[node["output"]] = result
        if node["pooled"] != NONE:
            values[node["pooled"]] = pool(result)
        if node["head"] != NONE:
            one = {"kh": 1, "kw": 1, "stride": 1, "padding": 0}
            values[node["head"]] = conv(result, one, *node["constants"][2:4])
    return values[graph["output"]]


def read_npy(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + length].decode())
    require(header["descr"] == "<f4" and not header["fortran_order"], f"{path}: not float32")
    channels, height, width = header["shape"][-3:]
    values = array("f", data[10 + length:])
    return [[list(values[(c * height + y) * width:(c * height + y + 1) * width])
             for y in range(height)] for c in range(channels)]


def main():
    with open(sys.argv[1], "rb") as file:
        sections = split(file.read())
    facts = read_facts(sections["facts"])
    graph = read_graph(sections["graph"], sections["weights"])
    require((2 in graph["types"]) == (facts["precision"] == "bf16"), "types and precision differ")
    tier, kernels = read_steps(sections["steps"], graph)
    require(len(sections["mask values"]) == facts["mask values"] * facts["mask channels"],
            "the mask values are miscounted")
    result, expected = run(graph, read_npy(sys.argv[2])), read_npy(sys.argv[3])
    require(len(result) == facts["classes"] == len(expected), "the classes are miscounted")
    worst = max(abs(a - b) for p, q in zip(result, expected) for r, s in zip(p, q)
                for a, b in zip(r, s))
    print(f"{facts['architecture']}, {len(graph['nodes'])} nodes, {len(kernels)} kernels for "
          f"{tier}: logits differ by {worst:.2g}")
    require(worst < LIMIT, "these are not the network's logits")


if __name__ == "__main__":
    main()
