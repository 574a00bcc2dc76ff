"""The command line, one file per command."""

from partgate.cli import demo, keys, learn, ledger, models, retrain, review, run, score, verify
from partgate.cli._app import app, main

__all__ = [
    "app",
    "demo",
    "keys",
    "learn",
    "ledger",
    "main",
    "models",
    "retrain",
    "review",
    "run",
    "score",
    "verify",
]
