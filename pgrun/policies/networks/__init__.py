"""The options of ``network=``, where they are found by name.

Those of images are modules of their own: torch's layers are imported with them alone.
"""

from pgrun.policies.policy import Joint, Separate, Shared

__all__ = ["Joint", "Separate", "Shared"]
