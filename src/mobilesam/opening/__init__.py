"""Opening a photo: any file or array to pixels (H, W, 3) in 8 bits, within limits of size and memory."""
