"""Evaluation of models on annotated photos by standard protocols; uses numpy and onnxruntime, never torch."""
