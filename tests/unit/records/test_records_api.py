import subprocess
import sys
from pathlib import Path

from partgate import records
from partgate_station import PartgateError


def test_what_is_exported_is_there_and_in_order() -> None:
    assert records.__all__ == sorted(records.__all__)
    assert all(hasattr(records, name) for name in records.__all__)


def test_the_tree_of_errors_is_exported_and_said() -> None:
    from partgate.records import _errors as errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, PartgateError)
        assert kind.__name__ in records.__all__
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__doc__


def test_importing_brings_neither_web_nor_learning_nor_vendors() -> None:
    script = (
        "import sys, partgate.records; "
        "vendors = {'fastapi', 'openvino', 'torch', 'alembic', 'imagecodecs', 'pysqlite3'}; "
        "sys.exit(', '.join(vendors & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], timeout=50, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_application_and_its_tests_stay_apart() -> None:
    package = Path(records.__file__).parent
    assert not any("pytest" in path.read_text() for path in package.rglob("*.py"))
