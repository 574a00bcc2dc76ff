"""The command line, one file per command."""

from partgate.cli import demo, learn, ledger, models, retrain, review, run, score
from partgate.cli._app import app, main

__all__ = ["app", "demo", "learn", "ledger", "main", "models", "retrain", "review", "run", "score"]
