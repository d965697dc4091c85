"""Teacher → student (arXiv 2306.14289). Needs the extra `train`."""
