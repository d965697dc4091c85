"""Predictions and truth → numbers, by the field's protocols. numpy and onnxruntime; never torch."""
