from tests.helpers.annotating import detections, photos, small
from tests.helpers.s3 import store

__all__ = ["detections", "photos", "small", "store"]
