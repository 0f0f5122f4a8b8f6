"""Writes safetensors.json: small files, mutated, and whether Python's safetensors accepts each.

    python test/golden/make_safetensors.py [FILES=3000] [SEED=1] [OUTPUT]
"""
import base64, json, random, struct, sys
from pathlib import Path
import safetensors
from safetensors import safe_open  # noqa: F401 (the version that is recorded)
from safetensors import deserialize, SafetensorError

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
OUTPUT = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(__file__).parent / "safetensors.json"
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "I32": 4, "I64": 8, "F64": 8, "BOOL": 1, "F7": 1}
TOKENS = ['"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', "[0]", "[]", "{}", "null", "true", "1e1", "-0", "1.0",
          "01", "18446744073709551615", "9007199254740993", '"F32"', '"f32"', " ", "\t", "\u00a0", ",", ":", "[", "]", '"', "\\"]


def header(rng):
    entries, at = {}, 0
    for i in range(rng.randint(0, 3)):
        dtype = rng.choice(list(SIZES)[:-1])
        shape = [rng.randint(0, 3) for _ in range(rng.randint(0, 2))]
        size = SIZES[dtype]
        for n in shape:
            size *= n
        entries[rng.choice(["a", "b", "w.x", "é", "__proto__"]) + str(i)] = {
            "dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    if rng.random() < 0.2:
        entries["__metadata__"] = rng.choice([{"format": "pt"}, {}, None, {"a": 1}, []])
    items = list(entries.items())
    rng.shuffle(items)
    return json.dumps(dict(items), separators=(",", ":") if rng.random() < 0.8 else None), at


def mutate(rng, text, size):
    """Most often one small change of the JSON, of the data's size, or of the length field."""
    kind = rng.random()
    if kind < 0.15:
        return text, size, 0
    if kind < 0.25:
        return text, max(0, size + rng.choice([-2, -1, 1, 8])), 0
    if kind < 0.3:
        return text, size, rng.choice([-1, 1, 8, 2**32, 10**8, 2**63])
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text))
        cut = at + rng.choice([0, 0, 1, 1, 2, 5])
        digits = [i for i, c in enumerate(text) if c.isdigit()]
        if kind < 0.6 and digits:
            at = rng.choice(digits)
            text = text[:at] + rng.choice("0123456789") + text[at + 1:]
        else:
            text = text[:at] + rng.choice(TOKENS + [text[at:at + rng.randint(1, 30)]]) + text[cut:]
    return text + " " * rng.randint(0, 3), size, 0


def main():
    rng, files = random.Random(SEED), []
    for _ in range(COUNT):
        text, size, off = mutate(rng, *header(rng))
        body = text.encode()
        data = struct.pack("<Q", (len(body) + off) % 2**64) + body + bytes(size)
        try:
            deserialize(data)
            accepted = True
        except SafetensorError:
            accepted = False
        files.append([base64.b64encode(data).decode(), accepted])
    OUTPUT.write_text(json.dumps({"safetensors": safetensors.__version__, "files": files}, separators=(",", ":")) + "\n")
    print(f"{COUNT} files, {sum(a for _, a in files)} accepted")


main()
