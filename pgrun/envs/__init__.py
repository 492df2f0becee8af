"""N environments stepped together, behind one interface: native vector programs or a
loop over gymnasium objects.
"""

from pgrun.envs.make import EnvSettings, make, probe
from pgrun.envs.vector import Envs

__all__ = ["EnvSettings", "Envs", "make", "probe"]
