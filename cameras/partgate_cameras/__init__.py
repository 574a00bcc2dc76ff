"""Cameras: one file per kind, one protocol for all."""

from partgate_cameras._defects import DefectKind
from partgate_cameras._drawing import Defect, VirtualPart, draw_part
from partgate_cameras._errors import (
    CameraError,
    CameraUnavailable,
    EndOfImages,
    FeatureError,
    FrameFormatError,
    FrameFrozen,
    FrameIncomplete,
    FrameOutOfOrder,
    FrameTimeout,
    ImageError,
)
from partgate_cameras._frame import Camera, Frame
from partgate_cameras._listing import ImageSurvey, SkippedFile, list_images, survey_images
from partgate_cameras._make import make_camera
from partgate_cameras._process import ProcessCamera
from partgate_cameras._stills import decode_image, read_image

__all__ = [
    "Camera",
    "CameraError",
    "CameraUnavailable",
    "Defect",
    "DefectKind",
    "EndOfImages",
    "FeatureError",
    "Frame",
    "FrameFormatError",
    "FrameFrozen",
    "FrameIncomplete",
    "FrameOutOfOrder",
    "FrameTimeout",
    "ImageError",
    "ImageSurvey",
    "ProcessCamera",
    "SkippedFile",
    "VirtualPart",
    "decode_image",
    "draw_part",
    "list_images",
    "make_camera",
    "read_image",
    "survey_images",
]
