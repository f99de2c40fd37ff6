"""The tables of docs/guide/export.md."""

from __future__ import annotations

import json
from typing import Any

from bench.common import processor_name, records_of
from bench.markdown import table

SHOWN = 0.5
"""Milliseconds of an operator that are worth a row."""
PRODUCTS = {
    "uint8, weights uint8": "on every processor",
    "int8, weights uint8": "with VNNI alone; sums of two saturate elsewhere",
    "uint8, weights int8": "yes, on this processor",
    "rows of uint8, columns of int8": "with VNNI alone",
}
"""Types of operands -> where their products are exact."""


def blocks() -> dict[str, str]:
    """Name of each block of the page -> its content."""
    measured = [json.loads(path.read_text()) for path in records_of("onnx")]
    profiled = next(record for record in measured if record["settings"].get("rounded"))
    return {
        "operators": operators(profiled),
        "forms": "\n".join(map(forms, measured)),
        "profile": profile(profiled),
    }


def operators(document: dict[str, Any]) -> str:
    """Operator by engine: equal in every case, or in how many it is not."""
    found, versions = document["results"]["operators"], document["settings"]["versions"]
    heads = ("operator", "cases", f"ONNX Runtime {versions['onnxruntime']}", f"OpenVINO {versions['openvino']}")
    rows = [
        (f"`{name}`", str(_cases(row["openvino"])), _said(row["onnxruntime"]), _said(row["openvino"]))
        for name, row in found.items()
    ]
    where = f"{processor_name(document['machine'])}, {document['machine']['date']}; bench/onnx"
    return f"{table(heads, rows)}\nEach case is one instruction of a random program, on three samples ({where}).\n"


def _cases(row: dict[str, Any]) -> int:
    return sum(row.get(kind, 0) for kind in ("equal", "differs", "refused"))


def _said(row: dict[str, Any]) -> str:
    if row.get("equal", 0) == _cases(row):
        return "equal"
    kinds = (("differs", "not exact"), ("refused", "refused"))
    return ", ".join(f"{row[kind]} {words}" for kind, words in kinds if row.get(kind))


def forms(document: dict[str, Any]) -> str:
    """ResNet-50 in both forms."""
    found = document["results"]["resnet50"]
    made, ms, ratio = found["integer"], found["ms"], found["integer_over"]
    heads = ("ResNet-50", "file, MB", "seconds to export", "ms of one image", "mean difference")
    rows = [
        (f"integer, {bits} bits", _mb(row["bytes"]), f"{row['export_s']:.1f}", time, "none")
        for (bits, row), time in zip(made.items(), (_ms(ms["integer"]), "", ""), strict=True)
    ]
    for key, label in (("qdq", "QDQ"), ("qdq, precise", "QDQ, `session.x64quantprecision`")):
        agreed = found["agreement"][key]
        rows.append((label, _mb(found["qdq_bytes"]), "", _ms(ms[key]), f"{agreed['difference']:.1%}"))
    if "integer, uint8" in ms:
        rows.insert(1, ("the same, products of uint8 by uint8", "", "", _ms(ms["integer, uint8"]), "none"))
    times, exact = (f"{ratio[key]['median']:.2f}x" for key in ("qdq", "qdq, precise"))
    where = f"{processor_name(document['machine'])}, {document['machine']['date']}; bench/onnx"
    saturates = "" if "vnni" in document["machine"]["processor"] else ", which saturates on this processor"
    words = (
        "ONNX Runtime, one thread, medians of processor time in turns; differences from `dqt.interpret` over the "
        f"deviation of its answers. The integer form takes {times} the time of the QDQ form{saturates}, and {exact} "
        f"where this has exact products ({where})."
    )
    if not document["settings"].get("rounded"):
        words += " Measured before layers were `QLinearConv`."
    return f"{table(heads, rows)}\n{words}\n"


def profile(document: dict[str, Any]) -> str:
    """Where the time goes, and what products and requantizations cost in other forms."""
    found = document["results"]["resnet50"]["profile"]
    where = f"{processor_name(document['machine'])}, {document['machine']['date']}; bench/onnx"
    products = [(kinds, f"{row['rate']:.0f}", PRODUCTS[kinds]) for kinds, row in found["products"].items()]
    roundings = [
        (form, f"{row['ms']:.2f}", "yes" if row["exact"] else "no") for form, row in found["roundings"].items()
    ]
    return "\n".join(
        (
            _operators(found["operators"]),
            table(("inputs and weights of a 3 x 3 convolution", "billion products a second", "exact"), products),
            table(("requantization of 256 x 56 x 56 sums", "ms", "exact"), roundings),
            f"One thread of ONNX Runtime ({where}). {_single(found['float32'])}\n",
        )
    )


def _operators(found: dict[str, Any]) -> str:
    """Milliseconds of the integer form beside those of the QDQ form, by operator."""
    shown = [
        (f"`{kind}`", str(row["nodes"]), f"{row['ms']:.1f}")
        for form in ("integer", "qdq")
        for kind, row in found[form].items()
        if row["ms"] >= SHOWN
    ]
    return table(("operator", "nodes", "ms of one image"), shown)


def _single(found: dict[str, int]) -> str:
    return f"In float32 {found['exact_layers']} of {found['layers']} layers round all sums as the integers do."


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _ms(spread: dict[str, float]) -> str:
    return f"{spread['median']:.0f}"
