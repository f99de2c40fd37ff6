"""Programs as ONNX models: what other engines make of the integer form, and ResNet-50 in both forms."""
