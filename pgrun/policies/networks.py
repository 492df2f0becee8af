"""The options of ``network=``, where they are found by name."""

from pgrun.policies.convolutional import Cnn, SharedCnn
from pgrun.policies.policy import Joint, Separate, Shared

__all__ = ["Cnn", "Joint", "Separate", "Shared", "SharedCnn"]
