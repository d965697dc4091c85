"""Export of torch models to ONNX files, which run without torch. Needs the extra `torch`."""
