"""Photos encoded now and prompted later, elsewhere: python examples/embeddings.py photo.jpg photo.embedding

The file holds the embedding and the model's identity, not the photo; another model's file is refused.
"""

import sys

import mobilesam

photo, file = sys.argv[1:]
sam = mobilesam.load()
image = sam.embed(photo)
image.save(file)  # 1 MB; this is the slow part, done once

later = sam.load_embedding(file)  # in another process, or on another machine
height, width = later.original_hw
middle = [(width / 2, height / 2)]
assert later.predict(points=middle, zoom=False) == image.predict(points=middle, zoom=False)

whole = sam.load_embedding(file, photo=photo)  # with the photo there are cut-outs and second looks too
print(whole.predict(points=middle).best)
