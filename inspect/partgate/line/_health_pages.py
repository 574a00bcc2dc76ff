"""What the health server shows of a station."""

from partgate.line._health_server import JSON, METRICS, Page, Pages
from partgate.line._metrics import StationMetrics
from partgate.line._supervision import Supervision


def health_pages(supervision: Supervision, metrics: StationMetrics) -> Pages:
    """Return the pages of a station, by path."""

    def live() -> Page:
        is_well, sentence = supervision.live()
        return Page(body=f"{sentence}\n".encode(), is_well=is_well)

    def ready() -> Page:
        is_well, proofs = supervision.ready()
        return Page(body=f"{proofs}\n".encode(), kind=JSON, is_well=is_well)

    return {
        "/live": live,
        "/ready": ready,
        "/metrics": lambda: Page(body=metrics.text(), kind=METRICS),
    }
