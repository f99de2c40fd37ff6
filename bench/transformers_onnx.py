"""Float networks as ONNX models that ONNX Runtime's tools have quantized to 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

OPSET = 18
PRODUCTS = ["MatMul", "Gemm", "Conv"]


def quantized(model: torch.nn.Module, x: torch.Tensor, to: dict[str, Path], *, any_batch: bool = False) -> None:
    """Write the forms of ``to``; static scales come from the samples ``x``. A call has one sample, or any ``N``."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "float.onnx", Path(folder) / "ready.onnx"
        torch.onnx.export(
            model, (x[: 1 + any_batch],), str(plain), input_names=["input"], output_names=["output"],
            opset_version=OPSET, dynamo=True, external_data=False,
            dynamic_shapes=({0: torch.export.Dim("N")},) if any_batch else None,
        )  # fmt: skip
        quant_pre_process(str(plain), str(ready))
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
        for form, only in (("whole", None), ("products", PRODUCTS)):
            quantize_static(
                str(ready), str(to[form]), Samples(x), quant_format=QuantFormat.QDQ, op_types_to_quantize=only, **kinds
            )
        quantize_dynamic(str(ready), str(to["dynamic"]), per_channel=True, weight_type=QuantType.QInt8)


class Samples:
    """The calibration data, as ONNX Runtime's tools ask for them."""

    def __init__(self, x: torch.Tensor) -> None:
        self.left: Iterator[dict[str, Any]] = iter([{"input": each[None].numpy()} for each in x])

    def get_next(self) -> dict[str, Any] | None:
        """One sample, or ``None`` after the last."""
        return next(self.left, None)
