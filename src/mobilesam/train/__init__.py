"""Photos and masks → weights. Needs the extra `train`."""
