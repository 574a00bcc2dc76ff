"""The graphs of this home: exported once, then shared by all products."""

import hashlib
import json
import logging
from pathlib import Path

from partgate_engines._errors import GraphRefused, TrainingUnavailable
from partgate_engines._write import write_file
from partgate_engines.anomaly._installed_graphs import installed_graphs
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._weights import Weights

_log = logging.getLogger(__name__)

# Part of the key: change it whenever the exported graph changes its meaning.
_EXPORT = 4  # from 4 on the first look weighs regions by their sensitivities
_QUANTISED = 2  # likewise of those in eight bits; from 2 on the first convolution is as well

FEATURE_STEP = "partgate.feature_step"
"""The property of an ONNX graph that says by what its features are multiples of."""

# The score is the mean of this share of a map's patches, the worst ones (docs/decisions/0003).
SCORED_SHARE = 0.01


def graph_for(settings: LearnSettings, weights: Weights, graphs: Path) -> Path:
    """Return the graph for these settings; if it is not there yet, the installed one, or exported now.

    Only an export imports torch and anomalib.

    Args:
        settings: of which backbone, layers, size and contrast count.
        weights: of the backbone.
        graphs: the folder of the graphs; a graph that was damaged there is exported again.

    Raises:
        TrainingUnavailable: the graph is not there and torch or anomalib are not installed.
        WeightsRefused: the weights, the backbone and the layers do not go together.
        GraphRefused: the exported graph does not say what torch says.
        BundleNotWritten: the folder cannot be written.
    """
    path = graphs.absolute() / f"{_key(settings, weights)}.onnx"
    if not _intact(path):
        installed = installed_graphs() / path.name
        content = installed.read_bytes() if _intact(installed) else _exported(settings, weights)
        write_file(path, content)
        write_file(_digest_file(path), hashlib.sha256(content).hexdigest().encode())
    return path


def feature_step(path: Path) -> float | None:
    """Return by what a graph's features are multiples of; None where they are any numbers.

    Raises:
        GraphRefused: the graph cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs of it

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise GraphRefused(f"{path}: not an ONNX model ({error}); delete it, and learn again") from error
    said = next((one.value for one in model.metadata_props if one.key == FEATURE_STEP), None)
    return None if said is None else float(said)


def keep_graph(content: bytes, graphs: Path) -> Path:
    """Put the graph of a single product, which was trained, beside those that products share.

    Raises:
        BundleNotWritten: the folder cannot be written.
    """
    path = graphs.absolute() / f"{hashlib.sha256(content).hexdigest()}.onnx"
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    return path


def _key(settings: LearnSettings, weights: Weights) -> str:
    what = {
        "backbone": settings.backbone,
        "export": _EXPORT,
        "layers": settings.layers,
        "scored_share": SCORED_SHARE,
        "size_px": settings.size_px,
        "weights": weights.sha256,
    }
    if settings.contrast != "global":  # left out, so that homes keep the graphs they have
        what["contrast"] = settings.contrast
    if settings.kind != "patchcore":
        what["kind"] = settings.kind
    if settings.precision != "f32":
        what["precision"] = settings.precision
        what["quantised"] = _QUANTISED
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _intact(path: Path) -> bool:
    try:
        expected = _digest_file(path).read_text(encoding="ascii").strip()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False
    if found != expected:
        _log.warning("%s is damaged and is exported again", path)
    return found == expected


def _exported(settings: LearnSettings, weights: Weights) -> bytes:
    try:
        from partgate_engines.anomaly._export import export

        # Within as well: not the import but the call imports torch, anomalib and timm.
        return export(
            backbone=settings.backbone,
            layers=settings.layers,
            size_px=settings.size_px,
            scored_share=SCORED_SHARE,
            weights=weights,
            contrast=settings.contrast,
            kind=settings.kind,
            precision=settings.precision,
        )
    except ModuleNotFoundError as error:
        raise TrainingUnavailable(
            f"learning the first product with {settings.backbone} needs {error.name}; install partgate[train]"
        ) from error
