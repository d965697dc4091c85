"""Inference: masks of a photo from point and box prompts; uses numpy and onnxruntime, never torch."""
