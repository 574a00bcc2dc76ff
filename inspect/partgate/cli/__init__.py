"""The command line, one file per command."""

from partgate.cli import (
    cameras,
    check,
    demo,
    doctor,
    forget,
    keys,
    learn,
    ledger,
    models,
    recipe,
    retrain,
    review,
    run,
    score,
    status,
    trace,
    verify,
)
from partgate.cli._app import app, main

__all__ = [
    "app",
    "cameras",
    "check",
    "demo",
    "doctor",
    "forget",
    "keys",
    "learn",
    "ledger",
    "main",
    "models",
    "recipe",
    "retrain",
    "review",
    "run",
    "score",
    "status",
    "trace",
    "verify",
]
