"""Files that ship: ONNX, OpenVINO IR, and their equality with eager."""
