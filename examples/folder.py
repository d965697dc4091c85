"""All masks of every photo in a folder: python examples/folder.py photos/ masks/

A photo that cannot be read does not stop the others, and a second call goes on where the first was stopped.
"""

import sys

import mobilesam

photos, output = sys.argv[1:]
sam = mobilesam.load()
settings = mobilesam.EverythingSettings(points_per_side=16)  # 32 finds more small objects, and takes four times as long
found = mobilesam.segment_folder(sam, photos, output, settings=settings, forms=["labels", "overlay"])

for photo in found.photos:
    print(photo.photo, photo.error or f"{photo.num_masks} masks: {', '.join(map(str, photo.files))}")
sys.exit(1 if found.failed else 0)
