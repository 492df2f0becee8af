"""Trained policies, and a film of each in docs/figures.

    pip install -c constraints.txt -e ".[mujoco,box2d,video]"
    python benchmarks/films.py --list
    python benchmarks/films.py Hopper-v5 CartPole-v1
    python benchmarks/films.py all

Each is seed 0 of a cell of the table of results, trained as ``benchmarks/table.py`` does it into
``outputs/table/<env>/<algo>/0``; a run that is there is not trained again. The film is of the first 300 steps
of the first episode of ``pgrun-play`` on it, made small: every third picture, 200 pixels wide, 24 colours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageSequence
from table import ROOT, read_cells, read_finished_summary, train

ALGORITHMS = {
    "CartPole-v1": "ppo",
    "Pendulum-v1": "ppo",
    "Acrobot-v1": "trpo",
    "MountainCar-v0": "a2c",
    "LunarLander-v3": "ppo",
    "HalfCheetah-v5": "npg",
    "Hopper-v5": "npg",
    "Swimmer-v5": "reinforce",
    "Reacher-v5": "a2c",
}
EVERY, WIDTH, COLOURS = 3, 200, 24  # of the pictures; their size
MOST, MILLISECONDS = 100, 60  # pictures, and how long each stands


def train_policy(env: str) -> Path:
    """The folder of the finished run."""
    (cell,) = (cell for cell in read_cells() if (cell.env, cell.algo) == (env, ALGORITHMS[env]))
    folder = cell.run_folder(0)
    if read_finished_summary(folder) is None:
        train(cell, 0, folder)
    return folder


def film_episode(run: Path, picture: Path) -> None:
    """Play the run's first evaluation episode and keep a small film of it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(run), "--episodes", "1", "--video", folder, "--format", "gif"]
        words += ["--max-steps", str(EVERY * MOST)]
        subprocess.run([sys.executable, "-m", "pgrun", "play", *words], check=True)
        with Image.open(Path(folder) / "episode-0.gif") as film:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)][::EVERY][:MOST]
    size = WIDTH, round(WIDTH * frames[0].height / frames[0].width)
    small = [frame.resize(size).quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames]
    small[0].save(
        picture, save_all=True, append_images=small[1:], duration=MILLISECONDS, loop=0, optimize=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("envs", nargs="*", choices=[*ALGORITHMS, "all"])
    parser.add_argument("--list", action="store_true", help="the environments, each with its algorithm")
    args = parser.parse_args()
    if args.list or not args.envs:
        print("\n".join(f"{env:16} {algo}" for env, algo in ALGORITHMS.items()))
        return
    for env in ALGORITHMS if "all" in args.envs else args.envs:
        picture = ROOT / "docs" / "figures" / f"film_{env.partition('-')[0].lower()}.gif"
        film_episode(train_policy(env), picture)
        print(picture)


if __name__ == "__main__":
    main()
