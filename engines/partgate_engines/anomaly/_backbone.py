"""The backbone: anomalib's PatchCore over timm, with weights from a file.

Imported only where a graph is exported, because torch and anomalib take ten seconds to import.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from safetensors import SafetensorError
from torch import Tensor, nn

from partgate_engines._errors import WeightsRefused
from partgate_engines.anomaly._weights import Weights

# What safetensors and torch's restricted unpickler raise on files that are something else.
_UNREADABLE = (
    SafetensorError,
    UnpicklingError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def normalisation(backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and deviation that the backbone was trained with, for pixels of 0..1.

    anomalib normalises with ImageNet's for every backbone. With the backbone's own, EfficientNet-Lite0
    separates tiles and textures better or as well (docs/decisions/0003 has the figures).
    """
    import timm
    from timm.data import constants

    config = timm.get_pretrained_cfg(backbone)
    if config is None:
        return constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD
    return config.mean, config.std


def build_model(*, backbone: str, layers: Sequence[str], size_px: int, weights: Weights) -> PatchcoreModel:
    """Build anomalib's PatchCore for a backbone and one input size, and load the weights into it.

    Raises:
        WeightsRefused: the weights are not those of the backbone, the backbone is unknown to timm,
            or it has no such layers.
    """
    import timm

    if backbone not in timm.list_models(backbone):
        raise WeightsRefused(f"{backbone}: timm has no backbone of that name")
    model = PatchcoreModel(layers=list(layers), backbone=backbone, pre_trained=False)
    if tuple(model.feature_extractor.layers) != tuple(layers):
        known = [info["module"] for info in model.feature_extractor.feature_extractor.feature_info.info]
        raise WeightsRefused(f"{backbone} has no layers {', '.join(layers)}; it has {', '.join(known)}")
    own = model.feature_extractor.feature_extractor
    own.load_state_dict(_for_backbone(own.state_dict(), _read(weights, backbone), weights))
    fix_padding(model.feature_extractor, size_px)
    return model.eval()


def fix_padding(model: nn.Module, size_px: int) -> None:
    """Let convolutions padded "same" remember the padding of the one size they will ever see.

    Otherwise the graph computes it from shapes, with two hundred nodes that not every runtime takes.
    """
    from timm.layers.conv2d_same import Conv2dSame, Conv2dSameExport

    for name, same in [(n, m) for n, m in model.named_modules() if type(m) is Conv2dSame]:
        fixed = Conv2dSameExport(
            same.in_channels,
            same.out_channels,
            _pair(same.kernel_size),
            stride=_pair(same.stride),
            dilation=_pair(same.dilation),
            groups=same.groups,
            bias=same.bias is not None,
        )
        fixed.load_state_dict(same.state_dict())
        model.set_submodule(name, fixed)
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, size_px, size_px))


def _pair(lengths: tuple[int, ...]) -> tuple[int, int]:
    high, wide = lengths
    return high, wide


def _read(weights: Weights, backbone: str) -> Mapping[str, Tensor]:
    state = _loaded(weights.path)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsRefused(
            f"{weights.path}: not a state dict; save `model.state_dict()` of timm's {backbone}"
        )
    return _by_order(state, backbone) if weights.packaged else state


def _loaded(path: Path) -> object:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsRefused(f"{path}: damaged, or more than tensors in it ({reason})") from error


def _by_order(state: Mapping[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """Give the packaged tensors timm's names; they come in timm's order."""
    import timm

    named = timm.create_model(backbone, pretrained=False).state_dict()
    pairs = list(zip(named.items(), state.items(), strict=True))
    strange = [
        f"{theirs} is {tuple(b.shape)}, {ours} is {tuple(a.shape)}"
        for (ours, a), (theirs, b) in pairs
        if a.shape != b.shape or _kind(ours) != _kind(theirs)
    ]
    if strange:
        raise WeightsRefused(f"the packaged weights are not those of {backbone}: {strange[0]}")
    return {ours: tensor for (ours, _), (_, tensor) in pairs}


def _kind(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _for_backbone(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], weights: Weights
) -> dict[str, Tensor]:
    """Pick what the feature extractor needs; it has no classifier, and timm renames dots in it."""
    flat = {name.replace(".", "_"): tensor for name, tensor in state.items()}
    missing = [name for name in wanted if name.replace(".", "_") not in flat]
    if missing:
        raise WeightsRefused(
            f"{weights.path.name}: {len(missing)} of {len(wanted)} tensors missing, the first {missing[0]};"
            " are they the weights of another backbone?"
        )
    picked = {name: flat[name.replace(".", "_")] for name in wanted}
    wrong = [name for name, tensor in picked.items() if tensor.shape != wanted[name].shape]
    if wrong:
        raise WeightsRefused(
            f"{weights.path.name}: {wrong[0]} is {tuple(picked[wrong[0]].shape)},"
            f" the backbone's is {tuple(wanted[wrong[0]].shape)}"
        )
    return picked
