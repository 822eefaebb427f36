"""Run the adapter's tests under every Gemini SDK that an MWAA version pins, each in an environment of its own.

``python tests/gemini_sdks.py`` (`.ci/run` calls it) builds what is missing under ``.venv/`` and ends with 1 if any
version fails.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = ROOT / ".venv" / "uv" / "bin" / "uv"
# The pins of Airflow 2.11.0, 3.0.6, 2.11.2, 3.2.1 and 3.3.1 on MWAA, the newest, and the SDK that went before.
SDKS = (
    "google-genai==1.2.0",
    "google-genai==1.31.0",
    "google-genai==1.66.0",
    "google-genai==1.73.1",
    "google-genai==2.17.0",
    "google-genai>=3,<4",
    "google-generativeai==0.8.6",
)
TESTS = (
    "tests/test_gemini.py",
    "tests/test_second_opinion.py::test_there_is_always_a_diagnosis",
    "tests/test_second_opinion.py::test_both_schemas_pass_the_strict_service",
)


def environment(sdk: str) -> Path:
    """The interpreter of the environment that holds this SDK, built when it is not there."""
    name = sdk.replace("==", "-").replace(">=", "-").partition(",")[0]
    python = ROOT / ".venv" / name / "bin" / "python"
    if not python.exists():
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, python.parents[1]], check=True)
        subprocess.run(
            [UV, "pip", "install", "-q", "--python", str(python), sdk, "pytest", "pytest-timeout"], check=True
        )
    return python


def main() -> int:
    failed = []
    for sdk in SDKS:
        command = [environment(sdk), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{sdk:28} {run.stdout.strip().splitlines()[-1]}", flush=True)
        if run.returncode:
            failed.append(sdk)
            print(run.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
