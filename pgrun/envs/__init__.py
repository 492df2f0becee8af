"""N environments stepped together, behind one interface: native vector programs or a
loop over gymnasium objects.
"""

from pgrun.envs.make import EnvSettings, make_envs, make_probed_env
from pgrun.envs.vector import Envs

__all__ = ["EnvSettings", "Envs", "make_envs", "make_probed_env"]
