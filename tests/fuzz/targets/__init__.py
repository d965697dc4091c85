"""What is done with each input: it is read as users' files are read, and whatever is accepted must be right.

Each function of these files raises a `MobileSamError` where the input is refused, and a `SilentError` where a damaged
one is taken for whole.
"""
