"""The door by which history comes in. ``docs/data-format.md`` is its contract."""

from recommender.services.ingest.loading import load_export
from recommender.services.ingest.report import FileReport, LoadRefused, LoadReport, RejectedRow

__all__ = ["FileReport", "LoadRefused", "LoadReport", "RejectedRow", "load_export"]
