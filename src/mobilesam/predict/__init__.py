"""One photo, some prompts → masks. numpy and onnxruntime; never torch."""
