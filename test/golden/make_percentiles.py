"""Writes percentiles.json: what numpy makes of fixed arrays, as optimum-benchmark asks it to (Latency.from_values).

python3 test/golden/make_percentiles.py, with numpy installed.
"""
import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(7)
ARRAYS = {
    "one": [4.25],
    "two": [3.0, 1.0],
    "equal": [2.5] * 7,
    "integers": [float(i) for i in range(11)],
    "unsorted": [9.0, 1.0, 8.5, 2.0, 7.0, 3.0, 100.0],
    "100 log-normal": rng.lognormal(3, 0.4, 100).round(6).tolist(),
    "997 log-normal": rng.lognormal(-4, 1.5, 997).round(9).tolist(),
    "far from 0": (1e6 + rng.random(50)).round(6).tolist(),
}

cases = {}
for name, values in ARRAYS.items():
    stdev = float(np.std(values)) if len(values) > 1 else 0.0
    cases[name] = {
        "values": values,
        "mean": float(np.mean(values)),
        "stdev": stdev,
        "stdev_": stdev / abs(float(np.mean(values))) * 100,
        **{f"p{p}": float(np.percentile(values, p)) for p in (50, 90, 95, 99)},
    }
out = Path(__file__).parent / "percentiles.json"
out.write_text(json.dumps({"versions": {"numpy": np.__version__}, "cases": cases}) + "\n")
