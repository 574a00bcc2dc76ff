"""What can go wrong with a model, below the root in `partgate_station`.

DataError
|-- BundleRefused             the folder is not a bundle, was changed, or holds what may not run
|   `-- SignerRefused         it is not signed, or by nobody who is trusted here
|-- FrameRefused              the frame has another dtype or shape than any camera's
|-- GraphRefused              an exported graph does not say what torch says
|-- ImagesRefused             the images to learn from are none, too small or of a wrong shape
|-- KeyRefused                a file is no key of the kind that bundles are signed with
|-- PartNotLocated            the part is not where it can be aligned to what was taught
|-- ParityFailed              a runtime does not say of golden frames what the bundle says
`-- WeightsRefused            the weights are not those of the backbone, or of a refused format
MissingInput
|-- BundleMissing             no folder, or no bundle in it
`-- WeightsMissing            the backbone's weights are not on this machine
ConfigError
`-- NothingToJudge            the regions leave no pixel of the frame
Unavailable
|-- RuntimeUnavailable        the runtime is not installed or not built yet
`-- TrainingUnavailable       the packages that learning a first product needs are not installed
CannotWrite
`-- BundleNotWritten          the bundle's or the graph's folder cannot be written
"""

from partgate_station import CannotWrite, ConfigError, DataError, MissingInput, Unavailable


class BundleRefused(DataError):
    """The folder is not a bundle, was changed after it was made, or holds what may not run."""


class SignerRefused(BundleRefused):
    """The bundle is not signed, or by nobody who is trusted here."""


class FrameRefused(DataError):
    """The frame has another dtype or shape than any camera's."""


class GraphRefused(DataError):
    """An exported graph does not say what torch says, or cannot be read."""


class ImagesRefused(DataError):
    """The images to learn from are none, too small or of a wrong shape."""


class KeyRefused(DataError):
    """A file is no key of the kind that bundles are signed with, or one that others may read."""


class PartNotLocated(DataError):
    """The part is not in the frame, or lies farther off than it may."""


class ParityFailed(DataError):
    """A runtime does not say of golden frames what the bundle says: it must not judge parts."""


class WeightsRefused(DataError):
    """The weights are not those of the backbone, or lie in a format that is refused."""


class BundleMissing(MissingInput):
    """There is no folder of that name, or no bundle in it."""


class WeightsMissing(MissingInput):
    """The backbone's weights are not on this machine."""


class NothingToJudge(ConfigError):
    """The regions leave no pixel of the frame."""


class RuntimeUnavailable(Unavailable):
    """The runtime is not installed, or not built yet."""


class TrainingUnavailable(Unavailable):
    """The packages that learning a first product needs are not installed."""


class BundleNotWritten(CannotWrite):
    """The folder of the bundles or of the graphs cannot be written."""
