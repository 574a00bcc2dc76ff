"""Nothing that partgate imports reports to anybody over the network."""

import subprocess
import sys

import pytest

_JUDGING = "from partgate_engines._openvino_device import library; library()"
_EXPORTING = "from partgate_engines.anomaly._export import calm\nwith calm(): import openvino"
_ASKED = """
import sys
from openvino.tools.ovc import telemetry_utils as used
print(used.tm.__name__, "openvino_telemetry.main" in sys.modules)
"""


@pytest.mark.parametrize("what", [_JUDGING, _EXPORTING], ids=["judging", "exporting"])
def test_openvino_is_imported_without_its_reporter(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{what}\n{_ASKED}"], capture_output=True, text=True, timeout=55, check=True
    )
    # The stub is what OpenVINO itself takes where its reporter is not installed.
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub False"
