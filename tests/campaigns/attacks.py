"""Run directories and checkpoints made to harm whoever resumes, plays, studies or compares them.

Each function spoils a good one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.identity import hash_settings

Plant = Callable[[Path, Path], None]  # (run directory, a folder outside of it)
STRANGE = (
    "evil",
    "turtle",
    "tensorflow",
    "hydra_plugins",
)  # modules that nothing here has a reason to import


@dataclass(frozen=True)
class Attack:
    plant: Plant
    refused_by: tuple[str, ...] = ()  # commands that must not exit with 0
    on_sweeps: bool = False  # on the folder of a sweep: only the command for those is tried


ATTACKS: dict[str, Attack] = {}


def attack(name: str, *refused_by: str) -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        ATTACKS[name] = Attack(plant, refused_by)
        return plant

    return add


LOUD = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\npgrun: all is well"  # what no terminal may be sent


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, outside: Path):
        self.outside = outside

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.outside}/owned",)


def code(outside: Path) -> str:
    return f"open({str(outside / 'owned')!r}, 'w').close()\n"


# files of a checkpoint


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def only(run: Path, content: bytes) -> None:
    """One checkpoint, with a manifest that vouches for it."""
    place = newest(run)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    place.write_bytes(content)
    told = {"format": 1, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "env_steps": 1}
    place.with_suffix(".json").write_text(json.dumps(told))


def header(content: dict[str, Any] | str, data: bytes = b"") -> bytes:
    text = (content if isinstance(content, str) else json.dumps(content)).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


RAW: dict[str, Callable[[Path], bytes]] = {
    "a pickle as safetensors": lambda outside: pickle.dumps(Payload(outside)),
    "a header of 2^63 bytes": lambda _: struct.pack("<Q", 2**63 - 1) + b"{}",
    "a tensor of 2^50 bytes": lambda _: header({"x": entry([2**48], 0, 2**50)}, b"0000"),
    "a shape that overflows": lambda _: header({"x": entry([2**32, 2**32], 0, 4)}, b"0000"),
    "overlapping tensors": lambda _: header({"x": entry([1], 0, 4), "y": entry([1], 0, 4)}, b"0000"),
    "negative offsets": lambda _: header({"x": entry([1], -4, 0)}, b"0000"),
    "no tree": lambda _: save({"x": torch.zeros(1)}),
    "a tree that is a list": lambda _: save({"x": torch.zeros(1)}, {"tree": "[]"}),
    "a deep tree": lambda _: save({"x": torch.zeros(1)}, {"tree": "[" * 200_000}),
    "a deep tree of our own": lambda _: save({}, {"tree": '{"list":[' * 900 + "1" + "]}" * 900}),
    "an unknown kind of node": lambda _: save({}, {"tree": '{"eval": "print(1)"}'}),
    "a path for a tensor": lambda _: save(
        {"../../x": torch.zeros(1)}, {"tree": '{"items": [["run", {"tensor": "../../x"}]]}'}
    ),
}  # fmt: skip
for _name, _content in RAW.items():

    @attack(_name, "resume", "play")
    def raw(run: Path, outside: Path, made: Callable[[Path], bytes] = _content) -> None:
        only(run, made(outside))
        (run / "policy.safetensors").write_bytes(made(outside))


@attack("a checkpoint by torch.save", "resume", "play")
def torch_pickle(run: Path, outside: Path) -> None:
    torch.save(Payload(outside), outside / "made.pt")
    content = (outside / "made.pt").read_bytes()
    (outside / "made.pt").unlink()
    only(run, content)
    (run / "policy.safetensors").write_bytes(content)


@attack("a checkpoint of a terabyte", "resume")
def sparse(run: Path, _outside: Path) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        os.truncate(path, 2**40)


@attack("deep YAML")
def deep_yaml(run: Path, _outside: Path) -> None:
    for name in ("policy.json", "job.json"):
        (run / name).unlink()
    for path in (run / ".hydra").iterdir():
        path.write_text("seed: 0\nalgo: " + "- " * 200_000)


@attack("sections that double, in JSON")
def doubled_json(run: Path, _outside: Path) -> None:
    more = {f"s{i}": {"x": f"${{s{i + 1}}}", "y": f"${{s{i + 1}}}"} for i in range(60)}
    for name, key in (("policy.json", "config"), ("job.json", "settings")):
        content = json.loads((run / name).read_text())
        content[key] |= {**more, "s60": {"z": 1}}
        (run / name).write_text(json.dumps(content))


@attack("deep JSON everywhere", "resume", "play", "study")
def deep(run: Path, _outside: Path) -> None:
    for path in [*run.rglob("*.json"), *(run / ".hydra").iterdir()]:
        path.write_text('{"config": ' * 200_000)


@attack("numbers of 10 000 digits", "resume", "play", "study")
def long_numbers(run: Path, _outside: Path) -> None:
    for path in run.rglob("*.json"):
        path.write_text('{"format": ' + "9" * 10_000 + "}")


# what is in a checkpoint, and in policy.json


def state_with(name: str, change: Callable[[dict[str, Any], Path], Any], *refused_by: str) -> None:
    @attack(name, *(refused_by or ("resume",)))
    def spoil(run: Path, outside: Path) -> None:
        checkpoints = Checkpoints(run / "checkpoints")
        state, _ = checkpoints.load()
        change(state, outside)
        number = int(newest(run).stem)
        for path in (run / "checkpoints").iterdir():
            path.unlink()
        checkpoints.save(number, state)


def settings_with(name: str, change: Callable[[dict[str, Any], Path], Any], *refused_by: str) -> None:
    """In the checkpoint, in policy.json, and in Hydra's record."""

    @attack(name, *(refused_by or ("resume", "play")))
    def spoil(run: Path, outside: Path) -> None:
        (run / "evil.py").write_text(code(outside))
        checkpoints = Checkpoints(run / "checkpoints")
        state, _ = checkpoints.load()
        change(state["settings"], outside)
        state["identity"]["settings"] = hash_settings(state["settings"])  # as whoever means harm would
        checkpoints.save(int(newest(run).stem), state)
        for file, key in (("policy.json", "config"), ("job.json", "settings")):
            content = json.loads((run / file).read_text())
            change(content[key], outside)
            (run / file).write_text(json.dumps(content))


def put(*path: Any) -> Callable[[dict[str, Any], Path], None]:
    """``put("env", "id", "x")``: settings["env"]["id"] = "x"."""
    *way, name, value = path

    def change(settings: dict[str, Any], outside: Path) -> None:
        here = settings
        for key in way:
            here = here[key]
        here[name] = value(outside) if callable(value) else value

    return change


settings_with("a module in the run directory", put("modules", ["evil"]), "resume")
settings_with("a module of Python's", put("modules", ["turtle"]), "resume")
settings_with(
    "an environment's module in the run directory",
    put("env", "id", "evil:Evil-v0"),
    "resume",
    "play",
    "study",
)
settings_with(
    "an environment's module by its path",
    put("env", "id", lambda o: f"{o}/evil:Evil-v0"),
    "resume",
    "play",
    "study",
)
settings_with("an environment that nobody registered", put("env", "id", "Evil-v0"), "resume", "play", "study")
settings_with(
    "_target_ among the environment's arguments",
    put("env", "kwargs", {"_target_": "os.system", "command": "true"}),
)
settings_with(
    "a table that is a pipe", lambda s, o: s["env"].update(id="pgrun/Table-v0", kwargs={"file": pipe(o)})
)
settings_with("a billion environments", put("env", "num_envs", 10**9), "resume")
for _name in (
    "evil",
    "evil.Evil",
    "..evil",
    "../evil",
    "os.system",
    "__init__",
    "base",
    "",
    "a" * 5000,
    "évil",
    3,
    None,
    ["ppo"],
):
    settings_with(f"algo named {str(_name)[:20]!r}", put("algo", "name", _name), "resume")
    settings_with(f"network named {str(_name)[:20]!r}", put("network", "name", _name), "resume", "play")
settings_with("a setting that is not the class's", put("algo", "evil", 1), "resume")
settings_with("a network of 10^18 weights", put("network", "hidden", [10**9, 10**9]))
settings_with("settings that are a list", lambda s, _: (s.clear(), s.update({"env": [], "algo": []})))
settings_with("no settings", lambda s, _: s.clear(), "resume", "play", "study")
settings_with("steps that are no number", put("trainer", "total_steps", float("nan")), "play")
settings_with("negative seed and threads", lambda s, _: s.update(seed=-1, threads=-7))
settings_with("a device of nobody's", put("device", "evil:0"), "resume")

state_with("an offset below 0", lambda s, _: s["log"].update({"metrics.csv": -5}))
state_with("an offset behind the end", lambda s, _: s["log"].update({"metrics.csv": 10**12}))
state_with("an offset that is text", lambda s, _: s["log"].update({"metrics.csv": "0; rm"}))
state_with("no log", lambda s, _: s.update(log=None))
state_with("steps that are NaN", lambda s, _: s["counters"].update(env_steps=float("nan")))
state_with("steps below 0", lambda s, _: s["counters"].update(env_steps=-5))
state_with("counters of another class", lambda s, _: s["counters"].update(updates=[], __class__="x"))
state_with("episodes that are text", lambda s, _: s["counters"].update(finished=["ab", "cd"]))
state_with("a clock that runs backwards", lambda s, _: s["clock"].update(wall=-1.0))
state_with("θ of another shape", lambda s, _: s["run"]["policy"].update(theta=torch.zeros(3)))
state_with("θ that is text", lambda s, _: s["run"]["policy"].update(theta="x"))
state_with("θ of NaN", lambda s, _: s["run"]["policy"]["theta"].fill_(float("nan")))
state_with("a generator that is none", lambda s, _: s["run"].update(noise=torch.zeros(3, dtype=torch.uint8)))
state_with("a generator of zeros", lambda s, _: s["run"]["shuffle"].zero_())
state_with(
    "environments of another number", lambda s, _: s["run"]["envs"].update(obs=np.zeros((7, 4), np.float32))
)
state_with("no environments", lambda s, _: s["run"].pop("envs"))
state_with("a state that is no mapping", lambda s, _: s.update(run=[1, 2]))
state_with("nothing in it", lambda s, _: s.clear())
state_with("no identity", lambda s, _: s.pop("identity"), "resume", "auto")
state_with("versions that are text", lambda s, _: s["identity"].update(versions=LOUD), "resume", "auto")
state_with(
    "versions that a terminal obeys", lambda s, _: s["identity"]["versions"].update(torch=LOUD), "none: said"
)
state_with("another observation space", lambda s, _: s["identity"].update(observation=LOUD), "resume", "auto")
state_with("settings that were changed since", lambda s, _: s["settings"].update(gamma=0.5), "resume", "auto")


def of_another_run(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """A checkpoint that is whole, with the metrics of this run beside it."""

    def swap(state: dict[str, Any], _outside: Path) -> None:
        change(state["settings"])
        state["identity"]["settings"] = hash_settings(state["settings"])

    state_with(f"the checkpoint of another {name}", swap, "resume", "auto")


of_another_run("seed", lambda settings: settings.update(seed=1))
of_another_run("network", lambda settings: settings["network"].update(hidden=[9]))
of_another_run("algorithm", lambda settings: settings["algo"].update(name="a2c"))
state_with("a final evaluation that is text", lambda s, _: s.update(final="x"), "none: it is extended")


# links, pipes, devices and folders in place of files

LINES = {  # what the run holds: whether resuming reads or writes it
    "metrics.csv": True,
    "summary.json": False,
    "policy.json": False,
    "policy.safetensors": False,
    ".lock": True,
    "job.json": False,
    "checkpoints": True,
    "MANIFEST": True,
    "DATA": True,
    "EVENTS": True,
    ".hydra": False,
    ".hydra/config.yaml": False,
}


def find(run: Path, name: str) -> Path:
    special = {
        "MANIFEST": newest(run).with_suffix(".json"),
        "DATA": newest(run),
        "EVENTS": next(run.glob("events.*")),
    }
    return special.get(name, run / name)


def pipe(outside: Path) -> str:
    if not (outside / "pipe").exists():
        os.mkfifo(outside / "pipe")
    return str(outside / "pipe")


def swapped(name: str, kind: str, make: Callable[[Path, Path], None], refused: bool) -> None:
    @attack(f"{name} is {kind}", *(("resume",) if refused else ()))
    def spoil(run: Path, outside: Path) -> None:
        for stray in (run / "checkpoints").glob("*"):  # no earlier one to fall back to
            if name in ("MANIFEST", "DATA") and stray.stem != newest(run).stem:
                stray.unlink()
        place = find(run, name)
        victim = outside / "victim"
        if place.exists():
            victim.unlink()
            place.rename(victim)
        make(place, victim)


for _file, _counts in LINES.items():
    swapped(_file, "a link that leads out", lambda place, victim: place.symlink_to(victim), _counts)
    swapped(
        _file,
        "a link to nothing yet",
        lambda place, victim: place.symlink_to(victim.with_name("new")),
        _counts and _file != "EVENTS",
    )
    if _file not in ("checkpoints", ".hydra"):
        swapped(_file, "a pipe", lambda place, _: os.mkfifo(place), _counts)
        swapped(_file, "a folder", lambda place, _: place.mkdir(), _counts)
        swapped(_file, "another name of a file outside", lambda place, victim: os.link(victim, place), False)
if os.geteuid() == 0:
    swapped(
        "metrics.csv",
        "a device",
        lambda place, _: os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
        True,
    )


@attack("links under the names of unfinished files")
def parts(run: Path, outside: Path) -> None:
    names = ("summary.json", "policy.json", "policy.safetensors", "metrics.csv", "job.json")
    for place in [
        *(run / name for name in names),
        *(run / "checkpoints" / f"{n:09d}.json" for n in range(400)),
    ]:
        place.with_name(f".{place.name}.part").symlink_to(outside / "victim")


# Hydra's record, which only pgrun-compare reads, and what it shows


def laughs(levels: int) -> str:
    """Each level is nine times the one below it."""
    lines = [f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}" for i in range(1, levels)]
    return "\n".join(["seed: 0", "a0: &a0 [1]", *lines, "algo: {name: ppo}"])


def doubled(levels: int) -> str:
    lines = [f"s{i}: {{x: '${{s{i + 1}}}', y: '${{s{i + 1}}}'}}" for i in range(levels)]
    return "\n".join(["seed: 0", "algo: {name: ppo}", *lines, f"s{levels}: {{z: 1}}"])


CONFIGS = {
    "tags of Python's": lambda o: (
        f"seed: 0\nalgo: {{name: !!python/object/apply:os.system ['touch {o}/owned']}}\n"
    ),
    "an object of Python's": lambda o: (
        "seed: 0\nalgo: !!python/object:evil.Evil {}\nenv: !!python/name:os.system\n"
    ),
    "_target_": lambda o: f"seed: 0\nalgo: {{name: ppo, _target_: os.system, _args_: ['touch {o}/owned']}}\n",
    "resolvers": lambda o: "seed: 0\nalgo: {name: '${oc.env:HOME}'}\nenv: {id: '${hydra:runtime.cwd}'}\n",
    "a reference to itself": lambda o: "seed: 0\nalgo: {name: '${env.id}'}\nenv: {id: '${algo.name}'}\n",
    "a loop of sections": lambda o: "seed: 0\nalgo: {name: ppo, x: '${env}'}\nenv: {id: x, y: '${algo}'}\n",
    "a billion laughs": lambda o: laughs(30),
    "sections that double": lambda o: doubled(60),
    "deep nesting": lambda o: "seed: 0\nalgo: " + "{a: " * 5000 + "}" * 5000,
    "markup": lambda o: (
        "seed: 0\nalgo: {name: '<script>alert(1)</script>'}\nenv: {id: '<img src=x onerror=alert(1)>'}\n"
    ),
}
for _name, _text in CONFIGS.items():

    @attack(f".hydra/config.yaml with {_name}")
    def recorded(run: Path, outside: Path, made: Callable[[Path], str] = _text) -> None:
        for name in ("policy.json", "job.json"):
            (run / name).unlink()
        (run / ".hydra" / "config.yaml").write_text(made(outside))
        (run / ".hydra" / "overrides.yaml").write_text(
            "- hydra.callbacks.evil._target_=os.system\n- !!python/object/apply:os.system ['touch "
            f"{outside}/owned']\n"
        )


@attack("rows without end")
def rows(run: Path, _outside: Path) -> None:
    (run / "metrics.csv").write_bytes(b"env_steps,return/eval\n" + b"\0" * 10**6 + b'"' * 10**6)


# files of any size, which cost nothing to make

LARGE = (
    *("summary.json", "policy.json", "job.json", "metrics.csv", "policy.safetensors", "EVENTS", "MANIFEST"),
    *(".hydra/config.yaml", ".hydra/overrides.yaml"),
)
for _file in LARGE:
    for _size, _shown in ((2**40, "a terabyte"), (3 * 2**30, "3 GB")):

        @attack(f"{_file} has {_shown}", *(("resume",) if _file == "MANIFEST" else ()))
        def large(run: Path, _outside: Path, file: str = _file, size: int = _size) -> None:
            place = find(run, file)
            if file == "MANIFEST":
                for stray in (run / "checkpoints").glob("*"):
                    if stray.stem != newest(run).stem:
                        stray.unlink()
            if file.startswith(".hydra"):
                for name in ("policy.json", "job.json"):
                    (run / name).unlink()
            os.truncate(place, size)


@attack("metrics.csv of empty lines")
def empty_lines(run: Path, _outside: Path) -> None:
    (run / "metrics.csv").write_bytes(b"env_steps,return/eval\n" + b"\n" * 10**7)


# a table for an environment


def merge_keys(_: Path) -> bytes:
    """Each level is twice the one below it."""
    lines = [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 25)]
    return "\n".join(["start: [1]", "a0: &a0 {k: 1}", *lines, "P: *a24"]).encode()


def aliases(_: Path) -> bytes:
    rows = f"[&x [{','.join(['*o'] * 1000)}]{',*x' * 1000}]"
    return f"start: [1]\no: &o [1.0, 0, 0.0, false]\nP: [&r {rows}{',*r' * 20}]".encode()


def npz(member: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("P.npy", member)
    return made.getvalue()


@cache
def unpacks_to_1_gib() -> bytes:
    return npz(npy((128, 1, 2**20), bytes(2**30)))


def npy(shape: tuple[int, ...], data: bytes) -> bytes:
    made = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, header)
    return made.getvalue() + data


TABLES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "merge keys": ("yaml", merge_keys),
    "aliases": ("yaml", aliases),
    "an alias of itself": ("yaml", lambda _: b"start: [1]\nP: &a [*a, *a]"),
    "deep lists": ("yaml", lambda _: b"P: " + b"[" * 200_000),
    "a tag of Python's": (
        "yaml",
        lambda o: f"P: !!python/object/apply:os.system ['touch {o}/owned']".encode(),
    ),
    "arrays that unpack to 1 GiB": ("npz", lambda _: unpacks_to_1_gib()),
    "a shape of 2^60": ("npz", lambda _: npz(npy((2**20, 2**20, 2**20), bytes(64)))),
    "no archive": ("npz", lambda _: bytes(1000)),
    "objects": ("npz", lambda o: npz(pickle.dumps(Payload(o)))),
}
for _name, (_ending, _bytes) in TABLES.items():

    def with_table(
        settings: dict[str, Any], outside: Path, ending: str = _ending, made: Callable[[Path], bytes] = _bytes
    ) -> None:
        place = outside.parent / f"table.{ending}"
        place.write_bytes(made(outside))
        settings["env"].update(id="pgrun/Table-v0", kwargs={"file": str(place)})

    settings_with(f"a table of {_name}", with_table)


# texts that a terminal would obey


@attack("names that a terminal obeys")
def loud_names(run: Path, _outside: Path) -> None:
    for file, key in (("policy.json", "config"), ("job.json", "settings")):
        content = json.loads((run / file).read_text())
        content[key][LOUD] = LOUD
        for group in ("algo", "variance"):
            content[key][group]["name"] = LOUD
        content[key]["env"]["id"] = LOUD
        (run / file).write_text(json.dumps(content))


@attack("a summary that a terminal obeys")
def loud_summary(run: Path, _outside: Path) -> None:
    told = {"status": LOUD, "error": LOUD, "algo": LOUD, "env": LOUD}
    (run / "summary.json").write_text(json.dumps(told))


@attack("names in YAML that a terminal obeys")
def loud_yaml(run: Path, _outside: Path) -> None:
    for name in ("policy.json", "job.json"):
        (run / name).unlink()
    loud = json.dumps(LOUD)
    (run / ".hydra" / "config.yaml").write_text(
        f"seed: 0\n{loud}: {loud}\nalgo: {{name: {loud}}}\nenv: {{id: {loud}}}\n"
    )


@attack("columns that a terminal obeys")
def loud_columns(run: Path, _outside: Path) -> None:
    (run / "metrics.csv").write_text(f"env_steps,{LOUD.replace(chr(10), '')},return/eval\n{LOUD},1,2\n")


# links in the folder of a sweep, by the names that its own files and its jobs have

for _file in (
    *("multirun.yaml", "compare.html", "sweep.json", ".stop", ".submitit", "search.json", ".bars.json"),
    *("0", "1", "0_seed=0/.hydra", "0_seed=0/.hydra/config.yaml", "0_seed=0/pgrun.log", "7"),
):
    for _target in ("victim", "folder", "nothing"):

        def linked(run: Path, outside: Path, file: str = _file, target: str = _target) -> None:
            shutil.rmtree(run)
            (outside / "folder").mkdir()
            (run / file).parent.mkdir(parents=True)
            (run / file).symlink_to(outside / target)

        ATTACKS[f"{_file} of a sweep is a link to {_target}"] = Attack(linked, ("sweep",), on_sweeps=True)
