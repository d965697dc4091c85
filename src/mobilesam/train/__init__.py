"""Training of the networks on annotated masks. Needs the extra `train`."""
