"""Knowledge distillation from a large SAM encoder to a small one (arXiv 2306.14289). Needs the extra `train`."""
