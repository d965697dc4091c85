"""The network, and nothing else. Needs the extra `torch`."""
