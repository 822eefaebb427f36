# One obvious way for each thing; everything is installed into .venv/ and nothing elsewhere.
# Needs: Python 3.10–3.12 and make. `make test` also installs Chromium where it is absent (as root, by apt-get).
SHELL := /bin/bash
PYTHON ?= python3
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

SOURCES := $(shell find airflow_de_agent plugins -type f -not -path '*/__pycache__/*') setup.cfg pyproject.toml
UV := .venv/uv/bin/uv

.PHONY: demo test lint bench matrix eval eval-live lambda-local environments clean

$(UV):
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

.venv/dev/.done: requirements-dev.txt | $(UV)
	bash tests/environment.sh dev requirements-dev.txt

.venv/airflow2/.done: tests/requirements/airflow2.txt $(SOURCES) | $(UV)
	bash tests/environment.sh airflow2 $<

.venv/airflow3/.done: tests/requirements/airflow3.txt $(SOURCES) | $(UV)
	bash tests/environment.sh airflow3 $<

environments: .venv/dev/.done .venv/airflow2/.done .venv/airflow3/.done

# Real Airflow, real failing DAGs, the whole path with the embedded defaults. KEEP=1 leaves it running.
demo: .venv/airflow3/.done
	.venv/airflow3/bin/python example_dags/demo.py $(if $(KEEP),--keep)

# Everything: unit tests, real Airflow 2 and 3 under both executors, a real browser.
test: environments
	bash tests/chromium.sh
	.venv/dev/bin/pytest -n 2 --dist loadfile

lint: .venv/dev/.done
	.venv/dev/bin/ruff check .
	.venv/dev/bin/ruff format --check .
	.venv/dev/bin/mypy
	.venv/dev/bin/lint-imports

# Figures, as ratios measured side by side in one run.
bench: environments
	for script in bench/*.py; do echo "== $$script"; .venv/dev/bin/python $$script || exit 1; done

# Every Airflow that MWAA runs, under its own constraint file.
matrix: .venv/dev/.done
	.venv/dev/bin/python tests/matrix.py

eval: .venv/dev/.done
	.venv/dev/bin/python -m airflow_de_agent.cli eval tests/evals \
		--min-right 0.96 --min-strict 0.90 --min-key-line 0.99 --min-key-line-small 0.97 \
		--max-wrong-answered 0.03 --max-wrong-sure 0.01 --max-injection-hits 0 --max-secret-leaks 0

# The companion Lambda over HTTP on this machine; PORT=… takes another port.
lambda-local: .venv/dev/.done
	.venv/dev/bin/python -m deployment.local_lambda --port $(or $(PORT),3000)

# The same with the real model; needs GEMINI_API_KEY.
eval-live: .venv/dev/.done
	@if [ -z "$$GEMINI_API_KEY" ]; then echo "eval-live: SKIPPED, as GEMINI_API_KEY is not set"; \
	else .venv/dev/bin/python -m airflow_de_agent.cli eval tests/evals --engine gemini; fi

clean:
	rm -rf .venv .demo build dist *.egg-info
