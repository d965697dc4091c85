"""The service, called with the standard library alone: python examples/call_service.py http://127.0.0.1:8000 photo.jpg

Start it first: mobilesam serve. A photo is uploaded and encoded once; after that each click takes only the decoder.
"""

import base64
import json
import sys
import urllib.request
from pathlib import Path

address, photo = sys.argv[1:]


def ask(path, body):
    """One request with JSON in its body; the answer's JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


key = ask("/v1/embeddings", {"photo": base64.b64encode(Path(photo).read_bytes()).decode()})["id"]
for prompt in (
    {"points": [[300, 180]]},
    {"points": [[300, 180], [30, 380]], "labels": [1, 0]},
    {"box": [170, 15, 410, 310]},
):
    (result,) = ask(f"/v1/embeddings/{key}/segment", prompt)["results"]
    best = result["masks"][result["best"]]  # its "segmentation" is COCO's run lengths: mobilesam.masks.from_rle
    print(prompt, "->", best["area"], "pixels, score", round(best["score"], 3))
