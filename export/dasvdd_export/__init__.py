"""model.pt -> model.onnx, or nothing."""
