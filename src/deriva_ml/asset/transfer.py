"""Files between this machine and the catalog: outputs up, inputs down."""

from __future__ import annotations

from deriva_ml.asset.download import download, download_many, link_inputs
from deriva_ml.asset.upload import UploadReport, upload

__all__ = ["UploadReport", "download", "download_many", "link_inputs", "upload"]
