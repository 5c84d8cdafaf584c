"""Is a stream of ticks sound? Told in plain words, with the fix: the evidence behind `longvie doctor`.

Comes in: ticks. Goes out: findings, none where all is well. Laws: nothing is changed, nothing is logged; of all
mistakes that could explain the data the best one is named, not every one that could.

``order`` looks at indices and time stamps, ``depth_values`` at numbers, ``motion`` at what should move, and the rest at
geometry: ``hypothesis`` lists the mistakes, ``evidence`` scores one, ``measure`` sizes it, ``verdict`` chooses.
"""

from .examine import examine
from .finding import Figure, Finding, Severity

__all__ = ["Figure", "Finding", "Severity", "examine"]
