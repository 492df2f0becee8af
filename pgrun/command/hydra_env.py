"""Every id registered with gymnasium, and ``module:Id``, as an option of the config group ``env``.

A file in conf/env comes first in Hydra's search path and wins; for any other id the option is made on the
fly.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from pgrun.command.folder_names import register_names
from pgrun.command.hydra_internals.parse_once import parse_once


class GymnasiumSource(ConfigSource):
    """The search path entry ``gymnasium://``. Hydra passes ``config_path`` by keyword."""

    @staticmethod
    def scheme() -> str:
        return "gymnasium"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") == "env"

    def is_config(self, config_path: str) -> bool:
        name = extract_env_id(config_path)
        if name is None or ":" in name:  # a module is imported by the check, not by composing
            return name is not None
        from pgrun.envs.problems.registration import registry

        return name in registry

    def load_config(self, config_path: str) -> ConfigResult:
        name = extract_env_id(config_path)
        if name is None:
            raise ConfigLoadError(f"{config_path} is not an environment")
        config: dict[str, Any] = {
            "id": name,
            "num_envs": "${oc.select:usual.env.num_envs,8}",
            "max_episode_steps": None,
            "kwargs": {},
            "flatten_images": "${oc.select:usual.env.flatten_images,false}",
            "vector": "auto",
            "wrappers": [],
            "action_mask": False,
            "restart": False,
        }
        return ConfigResult(
            provider=self.provider,
            path=f"gymnasium://{name}",
            config=OmegaConf.create(config),
            header={"package": "env"},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []  # sixty ids would drown --help


class PgrunSearchPath(SearchPathPlugin):
    """The user's ``--config-dir``, a command's own options, then the source: Hydra's own handling would put
    the folder behind it.
    """

    folders: ClassVar[list[str]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in self.folders:
            search_path.append("pgrun", f"file://{folder}")
        search_path.append("pgrun", "gymnasium://")


def extract_env_id(config_path: str) -> str | None:
    name = config_path.removesuffix(".yaml")
    return name.removeprefix("env/") if name.startswith("env/") else None


def register_config_sources(config_dir: str | None = None, options: str | None = None) -> None:
    """Before composing; twice does no harm.

    ``config_dir`` holds the user's own options, ``options`` those of one command.
    """
    if not OmegaConf.has_resolver("run_name"):
        register_names()
    parse_once()
    PgrunSearchPath.folders = [folder for folder in (config_dir, options) if folder]
    Plugins.instance().register(GymnasiumSource)
    Plugins.instance().register(PgrunSearchPath)
