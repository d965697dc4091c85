"""The SAM networks in torch, and reading and writing their checkpoints. Needs the extra `torch`."""
