from tests.helpers.annotating import detections, photos, small

__all__ = ["detections", "photos", "small"]
