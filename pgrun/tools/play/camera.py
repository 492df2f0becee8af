"""The camera that the words of ``pgrun-play`` ask for."""

from __future__ import annotations

import os
from importlib.util import find_spec

from pgrun.envs.film import INSTALL, Camera, is_headless
from pgrun.errors import InvalidCommand
from pgrun.terminal.writable import refuse_unwritable_folder
from pgrun.tools.play.options import PlayOptions


def name_film(i: int) -> str:
    return f"episode-{i}"


def make_camera(wish: PlayOptions, episodes: int) -> Camera:
    """The camera that was asked for; raises ``InvalidCommand`` where there can be none,
    before anything is played.
    """
    if wish.video is None:
        if is_headless() and not os.environ.get("SDL_VIDEODRIVER"):
            raise InvalidCommand(
                "--render",
                None,
                "needs a display, and there is none here",
                "--video DIR writes films instead",
            )
        return Camera("human")
    if wish.format == "mp4" and find_spec("imageio_ffmpeg") is None:
        raise InvalidCommand("an MP4", None, f'needs the extra "video": {INSTALL}; or add --format gif')
    films = (wish.video / f"{name_film(i)}.{wish.format}" for i in range(episodes))
    if taken := [path for path in films if os.path.lexists(path)]:
        raise InvalidCommand(taken[0], None, "is there already", "choose another --video, or remove it")
    if wish.video.exists() and not wish.video.is_dir():
        raise InvalidCommand("--video", wish.video, "it is a file", "name a folder")
    refuse_unwritable_folder("--video", wish.video)
    return Camera("rgb_array", wish.video, wish.format)
