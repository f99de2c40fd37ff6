"""Programs as ONNX models in QDQ form, from which other engines take their int8 kernels."""
