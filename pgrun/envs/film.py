"""Pictures of an environment: in a window, or as one film an episode."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from pgrun.config.pages import install_command
from pgrun.envs import EnvSettings
from pgrun.envs.faults import close_all
from pgrun.envs.film_writers import WRITERS, Writer
from pgrun.envs.make import make_one
from pgrun.envs.vector import Loop
from pgrun.errors import InvalidCommand

INSTALL = install_command("video")
GL = (("egl", "EGL"), ("osmesa", "OSMesa"))  # MUJOCO_GL, and the library that it needs


@dataclass
class Camera:
    """Takes a picture of every observation of an episode; a window draws itself."""

    mode: str  # of gymnasium's rendering
    folder: Path | None = None
    kind: str = "mp4"
    files: list[Path] = field(default_factory=list)
    writer: Writer | None = None
    fps: float = 30.0
    shown: tqdm = field(default_factory=lambda: tqdm(unit=" pictures", disable=None, leave=False))

    @contextmanager
    def episode(self, name: str) -> Iterator[None]:
        """A film of this name, there only once it is whole."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{name}.{self.kind}"
        part = target.with_name(f".part-{target.name}")
        part.unlink(missing_ok=True)  # a link would be written through
        self.writer = WRITERS[self.kind](part, self.fps)
        try:
            yield
            self.writer.close()
            part.replace(target)
        finally:
            self.writer = None
            part.unlink(missing_ok=True)
        self.files.append(target)

    def take(self, env: gym.Env) -> None:
        if self.writer is not None:
            self.writer.add(np.ascontiguousarray(env.render()))
            self.shown.update()


class Filmed(gym.Wrapper):
    """Shows each observation to a camera."""

    def __init__(self, env: gym.Env, camera: Camera):
        super().__init__(env)
        self.camera = camera

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        answer = self.env.reset(**given)
        self.camera.take(self.env)
        return answer

    def step(self, action: Any) -> Any:
        answer = self.env.step(action)
        self.camera.take(self.env)
        return answer


def is_headless() -> bool:
    return sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def make_filmed_column(env: EnvSettings, camera: Camera) -> Loop:
    """One column of ``env`` before the camera. Raises ``InvalidCommand`` where it cannot be drawn here."""
    if is_headless():
        prepare_headless_rendering()
    kept = {key: value for key, value in env.kwargs.items() if key != "render_mode"}
    one = make_drawing_env(replace(env, kwargs=kept), camera.mode)
    camera.fps = float(one.metadata.get("render_fps") or camera.fps)
    return Loop(lambda: Filmed(one, camera), 1)


def prepare_headless_rendering() -> None:
    """pygame and MuJoCo look for one first, where nobody says what else to do."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    for name, library in GL:
        if not os.environ.get("MUJOCO_GL") and ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = name


def make_drawing_env(env: EnvSettings, mode: str) -> gym.Env:
    """It has drawn its first observation."""
    plain = make_one(env)
    modes = plain.metadata.get("render_modes") or []
    following = {} if any(key.startswith("camera") for key in env.kwargs) else tracking_camera(plain)
    close_all([plain], f"env={env.id}")
    if not {mode, "rgb_array"} & set(modes):
        draws = f"only {', '.join(map(str, modes))}" if modes else "nothing"
        raise InvalidCommand("env", env.id, f"draws {draws}: a picture needs render_mode={mode}")
    one = make_one(env, render_mode=mode, **following)
    try:
        one.reset()
        if one.render() is None and mode == "rgb_array":
            raise InvalidCommand("env", env.id, "draws nothing")
    except InvalidCommand:
        raise
    except Exception as error:
        if os.environ.get("PGRUN_DEBUG"):
            raise
        raise InvalidCommand("env", env.id, explain_undrawable(error)) from error
    return one


def tracking_camera(env: gym.Env) -> dict[str, str]:
    """The camera of a MuJoCo model that goes with the body: gymnasium 1.4 leaves HalfCheetah's where it is,
    and it runs away.
    """
    inner: Any = env.unwrapped
    renderer, model = getattr(inner, "mujoco_renderer", None), getattr(inner, "model", None)
    if renderer is None or model is None or "trackbodyid" in (renderer.default_cam_config or {}):
        return {}
    names = [model.camera(i).name for i in range(model.ncam)]
    return {"camera_name": "track"} if "track" in names else {}


def explain_undrawable(error: Exception) -> str:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, gym.error.DependencyNotInstalled) and find_spec("pygame") is None:
        return f'pictures need the extra "video": {INSTALL}'
    hint = ""
    if "mujoco" in sys.modules and "MUJOCO_GL" in os.environ:
        hint = (
            f"; MUJOCO_GL={os.environ['MUJOCO_GL']} is set: it takes glfw (a display), egl (Debian: libegl1) "
            "or osmesa (libosmesa6)"
        )
    return f"cannot be drawn here: {reason}{hint}"
