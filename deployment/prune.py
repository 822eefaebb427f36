"""Take out of a built package what the companion Lambda never opens: the data of AWS services that it does not call.

python prune.py DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

SERVICES = {"dynamodb", "lambda", "logs", "mwaa", "redshift-data", "secretsmanager", "sso", "sso-oidc", "sts"}


def prune(directory: Path) -> int:
    """Remove what is not needed; the bytes that are left."""
    data = directory / "botocore" / "data"
    for service in data.iterdir() if data.is_dir() else ():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for cache in list(directory.rglob("__pycache__")):
        shutil.rmtree(cache)
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    print(f"{prune(Path(sys.argv[1])) / 1e6:.1f} MB unzipped")
