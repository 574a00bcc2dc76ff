"""The QA web application: flagged parts are looked at and decided in a browser."""

from partgate.review._app import create_app
from partgate.review._errors import CannotListen, PasswordRefused, SiteBusy
from partgate.review._overlay import Placement, overlay
from partgate.review._passwords import Passwords, check_password, checked_name
from partgate.review._recipe_content import Limits, inspected_box, noted_box
from partgate.review._serve import serve
from partgate.review._users import Change, resettable, set_password, users

__all__ = [
    "CannotListen",
    "Change",
    "Limits",
    "PasswordRefused",
    "Passwords",
    "Placement",
    "SiteBusy",
    "check_password",
    "checked_name",
    "create_app",
    "inspected_box",
    "noted_box",
    "overlay",
    "resettable",
    "serve",
    "set_password",
    "users",
]
