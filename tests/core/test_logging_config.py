"""The library's loggers: a block that leaves the log as it was."""

from __future__ import annotations

import logging
import logging.config
from pathlib import Path

from deriva_ml.core.logging_config import configure_logging, logging_kept


def test_whatever_is_done_to_the_log_within_a_block_is_undone(tmp_path: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("deriva_ml")
    of_a_module = logging.getLogger("deriva_ml.of_a_module")
    kept = logging.FileHandler(tmp_path / "kept.log")
    root.addHandler(kept)
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in (root, ours)]
    try:
        with logging_kept():
            new = logging.FileHandler(tmp_path / "new.log")
            logging.config.dictConfig({"version": 1, "root": {"level": "DEBUG", "handlers": []}})
            assert of_a_module.disabled
            root.addHandler(new)
            configure_logging(logging.DEBUG)
            ours.propagate = False
        assert [(logger.handlers[:], logger.level, logger.propagate) for logger in (root, ours)] == before
        assert not of_a_module.disabled
        assert new.stream is None or new.stream.closed
        root.error("still written")
        assert "still written" in (tmp_path / "kept.log").read_text()
    finally:
        root.removeHandler(kept)
        kept.close()
