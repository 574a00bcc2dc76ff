"""Which kinds there are: the one place that knows them all."""

from partgate_engines._manifest import KindName
from partgate_engines.anomaly.kinds._kind import Kind


def kind_named(name: KindName) -> Kind:
    """Return a kind of model.

    A new one is a module beside this one, a case here and its name in `KindName`.
    """
    match name:
        case "patchcore":
            from partgate_engines.anomaly.kinds._patchcore import PatchCore

            return PatchCore()
        case "padim":
            from partgate_engines.anomaly.kinds._padim import PADIM

            return PADIM
        case "pca":
            from partgate_engines.anomaly.kinds._pca import PCA

            return PCA
        case "drawn":
            from partgate_engines.anomaly.kinds._drawn import DRAWN

            return DRAWN
        case "stfpm" | "fastflow" | "supersimplenet" | "reverse-distillation":
            from partgate_engines.anomaly.kinds._trained import TRAINED

            return TRAINED[name]
