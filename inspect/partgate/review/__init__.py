"""The QA web application: flagged parts are looked at and decided in a browser."""

from partgate.review._app import create_app
from partgate.review._errors import CannotListen, PasswordRefused, SiteBusy
from partgate.review._overlay import Placement, overlay
from partgate.review._recipe_content import Limits, inspected_box, noted_box
from partgate.review._serve import serve

__all__ = [
    "CannotListen",
    "Limits",
    "PasswordRefused",
    "Placement",
    "SiteBusy",
    "create_app",
    "inspected_box",
    "noted_box",
    "overlay",
    "serve",
]
