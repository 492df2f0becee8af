"""Films from pictures [H, W, 3] of uint8."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np

GIF_FPS = 50  # what browsers show: a shorter delay they take for 100 ms


class Writer(Protocol):
    def __init__(self, path: Path, fps: float) -> None: ...

    def add(self, picture: np.ndarray) -> None: ...

    def close(self) -> None: ...


class Mp4:
    """H.264, encoded as the pictures come."""

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, fps
        self.pipe: Any = None

    def add(self, picture: np.ndarray) -> None:
        if self.pipe is None:
            self.pipe = self.opened(picture.shape)
        self.pipe.send(picture)

    def opened(self, shape: tuple[int, ...]) -> Any:
        import imageio_ffmpeg

        pipe = imageio_ffmpeg.write_frames(
            str(self.path), (shape[1], shape[0]), fps=self.fps, macro_block_size=2
        )
        pipe.send(None)
        return pipe

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()


class Gif:
    """Each picture with its own palette. Above 50 pictures a second some are left out."""

    def __init__(self, path: Path, fps: float):
        self.path, self.every = path, ceil(fps / GIF_FPS)
        self.delay = 10 * round(100 * self.every / fps)  # ms, in the format's hundredths of a second
        self.pictures: list[Any] = []
        self.seen = 0

    def add(self, picture: np.ndarray) -> None:
        from PIL import Image

        if self.seen % self.every == 0:
            fast, none = Image.Quantize.FASTOCTREE, Image.Dither.NONE  # a tenth of the usual time
            self.pictures.append(Image.fromarray(picture).quantize(256, method=fast, dither=none))
        self.seen += 1

    def close(self) -> None:
        first, *others = self.pictures
        first.save(self.path, save_all=True, append_images=others, duration=self.delay, loop=0)


WRITERS: dict[str, type[Writer]] = {"mp4": Mp4, "gif": Gif}
