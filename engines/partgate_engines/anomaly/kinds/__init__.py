"""The kinds of model that a product can be learned with."""

from partgate_engines.anomaly.kinds._again import relearned
from partgate_engines.anomaly.kinds._kind import Kind, Lesson, Taught
from partgate_engines.anomaly.kinds._registry import kind_named

__all__ = ["Kind", "Lesson", "Taught", "kind_named", "relearned"]
