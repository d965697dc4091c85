"""A mask corrected with clicks, as a person does it: python examples/correct.py cup.png

The first click takes the cup with its saucer and the spoon; a second one says what is not meant.
"""

import sys
from pathlib import Path

import mobilesam

photo = Path(__file__).with_name("coffee.png")
image = mobilesam.load().embed(photo)

points, labels = [(290, 120)], [1]  # a click on the coffee
found = image.predict(points=points, labels=labels)
print("first click: ", found.best)

for point, label in [((140, 200), 0), ((385, 150), 1)]:  # the saucer is not part of it; the handle is
    points, labels = [*points, point], [*labels, label]
    found = image.predict(points=points, labels=labels, prior=found)  # the last mask is refined
    print("corrected:   ", found.best)

found.best.cutout().save(sys.argv[1])
