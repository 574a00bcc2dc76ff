"""Cameras: one file per kind, one protocol for all."""

from partgate_cameras._defects import DefectKind
from partgate_cameras._drawing import Defect, VirtualPart, draw_part
from partgate_cameras._errors import (
    CameraError,
    CameraUnavailable,
    EndOfImages,
    FeatureError,
    FrameBlank,
    FrameFormatError,
    FrameFrozen,
    FrameIncomplete,
    FrameOutOfOrder,
    FrameTimeout,
    ImageError,
    NoFrameYet,
)
from partgate_cameras._frame import Camera, Frame, StrayFrame, StreamingCamera
from partgate_cameras._genicam_survey import (
    CameraFeature,
    FoundDevice,
    ProducerSurvey,
    find_producers,
    survey_features,
    survey_producer,
)
from partgate_cameras._image_measures import ImageMeasures, measure_image
from partgate_cameras._image_reference import (
    MeasureName,
    Reading,
    ReferenceCheck,
    fits_none,
    learn_reference,
    misfit,
    mixes_colours,
)
from partgate_cameras._listing import ImageSurvey, SkippedFile, list_images, survey_images
from partgate_cameras._make import make_camera
from partgate_cameras._process import ProcessCamera
from partgate_cameras._stills import decode_image, read_image
from partgate_cameras._strays import strays

__all__ = [
    "Camera",
    "CameraError",
    "CameraFeature",
    "CameraUnavailable",
    "Defect",
    "DefectKind",
    "EndOfImages",
    "FeatureError",
    "FoundDevice",
    "Frame",
    "FrameBlank",
    "FrameFormatError",
    "FrameFrozen",
    "FrameIncomplete",
    "FrameOutOfOrder",
    "FrameTimeout",
    "ImageError",
    "ImageMeasures",
    "ImageSurvey",
    "MeasureName",
    "NoFrameYet",
    "ProcessCamera",
    "ProducerSurvey",
    "Reading",
    "ReferenceCheck",
    "SkippedFile",
    "StrayFrame",
    "StreamingCamera",
    "VirtualPart",
    "decode_image",
    "draw_part",
    "find_producers",
    "fits_none",
    "learn_reference",
    "list_images",
    "make_camera",
    "measure_image",
    "misfit",
    "mixes_colours",
    "read_image",
    "strays",
    "survey_features",
    "survey_images",
    "survey_producer",
]
