#!/usr/bin/env bash
# Build .venv/NAME from pinned REQUIREMENTS; the Airflow ones get our own wheel on top, as a user would install it.
set -euo pipefail
name=$1 requirements=$2
uv="$PWD/.venv/uv/bin/uv"
export UV_PYTHON_DOWNLOADS=never

# Airflow 3 runs on MWAA under Python 3.12, Airflow 2 under 3.11; the nearest that is here, 3.10 to 3.12.
case $name in
  airflow3) wanted="3.12 3.11 3.10" ;;
  *) wanted="3.11 3.12 3.10" ;;
esac

find_python() {
  local version candidate
  for version in $wanted; do
    for candidate in "$HOME"/.pyenv/versions/"$version"*/bin/python "python$version" "${PYTHON:-python3}"; do
      if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
        command -v "$candidate"
        return
      fi
    done
  done
  echo "no Python 3.10, 3.11 or 3.12 found; install one and try again" >&2
  return 1
}

environment=.venv/$name
stamp=$environment/.requirements
if ! cmp -s "$requirements" "$stamp"; then
  echo "building $environment"
  rm -rf "$environment"
  "$uv" venv --quiet --python "$(find_python)" "$environment"
  "$uv" pip install --quiet --compile-bytecode --python "$environment/bin/python" -r "$requirements"
  cp "$requirements" "$stamp"
fi
if [ "$name" != dev ]; then
  wheel=$(mktemp -d)
  trap 'rm -rf "$wheel"' EXIT
  "$uv" build --quiet --wheel --out-dir "$wheel" .
  "$uv" pip install --quiet --no-deps --reinstall --compile-bytecode --python "$environment/bin/python" "$wheel"/*.whl
fi
touch "$environment/.done"
