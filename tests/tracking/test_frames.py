from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import ImageError, PromptError
from mobilesam.tracking.frames import open_frames
from mobilesam.tracking.video import VideoWriter


def picture(value: int, hw: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.full((*hw, 3), value, np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 10.0) as video:
        for i in range(6):
            video.write(picture(40 * i))
    return path


def test_a_video_file_gives_its_frames_in_order(clip: Path) -> None:
    opened = open_frames(clip)
    assert (opened.name, opened.count, opened.fps) == ("clip", 6, 10.0)
    frames = list(opened.read())
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.name for frame in frames][-1] == "00005"
    assert all(abs(int(frame.photo.mean()) - 40 * frame.index) < 6 for frame in frames)


def test_reading_starts_at_a_frame(clip: Path) -> None:
    first = next(open_frames(clip).read(4))
    assert first.index == 4
    assert abs(int(first.photo.mean()) - 160) < 6
    with pytest.raises(PromptError, match="no frame 6"):
        list(open_frames(clip).read(6))


def test_colours_of_a_video_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 220
    with VideoWriter(tmp_path / "red.mp4", 5.0) as video:
        video.write(red)
    photo = next(open_frames(tmp_path / "red.mp4").read()).photo
    assert photo[..., 0].mean() > 180
    assert photo[..., 2].mean() < 60


def test_frames_of_a_folder_are_counted_not_spelled(tmp_path: Path) -> None:
    for i in (10, 9, 1):
        Image.fromarray(picture(i)).save(tmp_path / f"frame{i}.png")
    opened = open_frames(tmp_path)
    assert opened.count == 3
    assert [frame.name for frame in opened.read()] == ["frame1", "frame9", "frame10"]
    assert [frame.index for frame in opened.read(1)] == [1, 2]


def test_frames_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    Image.fromarray(picture(1, (32, 32))).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match=r"'b'.*32x32.*48x32"):
        list(open_frames(tmp_path).read())


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    for suffix in ("png", "jpg"):
        Image.fromarray(picture(1)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ImageError, match="several pictures called 'a'"):
        open_frames(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_a_broken_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"cannot be opened as a video.*convert it to mp4"):
        open_frames(tmp_path / "broken.mp4")


def test_a_video_that_was_cut_off_is_refused(clip: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="cannot be opened as a video"):
        open_frames(clip)


def test_a_video_with_fewer_frames_than_it_says_is_told(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = open_frames(clip)
    object.__setattr__(opened, "count", 9)
    logging.getLogger("mobilesam").propagate = True
    with caplog.at_level(logging.WARNING):
        assert len(list(opened.read())) == 6
    assert "ends after 6 of 9 frames" in caplog.text


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ("", "empty"),
        ("http://host/clip.mp4", "download the video"),
        ("missing.mp4", "does not exist"),
        ("one.png", "one picture"),
        (7, "a video is a path"),
    ],
)
def test_what_is_no_video_is_refused(video: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_frames(video)


def test_large_frames_are_refused_before_they_are_read(clip: Path) -> None:
    with pytest.raises(ImageError, match="48x32"):
        open_frames(clip, max_pixels=1000)


def test_an_empty_iterable_holds_no_frame() -> None:
    with pytest.raises(ImageError, match="no frame"):
        list(open_frames(iter(())).read())
    assert open_frames([picture(1), picture(2)]).count == 2
