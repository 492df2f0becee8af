"""``pgrun --list``: algorithms × schemes × what fits, and the tuned pairs."""

from __future__ import annotations

from pgrun.compose import conf_dir
from pgrun.schema import lookup


def show() -> None:
    conf = conf_dir()
    schemes = [path.stem for path in sorted((conf / "variance").glob("*.yaml"))]
    print("algorithm × scheme: the samplers that fit\n")
    width = max(map(len, schemes)) + 2
    print(" " * 14 + "".join(f"{name:<{width}}" for name in schemes))
    for path in sorted((conf / "algo").glob("*.yaml")):
        algorithm = lookup("algo", path.stem)
        cells = []
        for name in schemes:
            whole = lookup("variance", name).whole_episodes
            fits = [kind for kind in algorithm.samplers if kind == "episodes" or not whole]
            cells.append("/".join(fits) or "-")
        print(f"{path.stem:<14}" + "".join(f"{cell:<{width}}" for cell in cells))
    print("\ntuned settings, taken by themselves (tuned=none turns them off)\n")
    for path in sorted((conf / "tuned").rglob("*/*.yaml")):
        algorithm, env = path.relative_to(conf / "tuned").with_suffix("").parts[0], path.stem
        print(f"  pgrun algo={algorithm} env={env}")
