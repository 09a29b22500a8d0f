from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def imports(data_dir: Path, tmp_path: Path, settings: Any) -> None:
    settings.IMPORT_DIR = tmp_path / "imports"
    settings.IMPORT_DIR.mkdir()
