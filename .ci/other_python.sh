#!/usr/bin/env bash
# Package, gate and command on a newer Python and the oldest pytest that is allowed, with no extra installed.
# Where this machine has no newer Python, says so and ends well.
set -euo pipefail
cd "$(dirname "$0")/.."

newer() {
  local version name
  for version in 3.14 3.13 3.12; do
    if python$version -c 'import venv' 2>/dev/null; then
      echo "python$version"
      return
    fi
    # pyenv shows only those of its versions that are chosen.
    if name=$(pyenv latest $version 2>/dev/null) && [ -n "$name" ]; then
      echo "$(pyenv prefix "$name")/bin/python"
      return
    fi
  done
}

python=$(newer)
if [ -z "$python" ]; then
  echo "no Python newer than $(python -V) is on this machine: nothing was run"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install --upgrade pip
# The wheel of llama-cpp-python fits every Python; pip keeps it for the one that it was compiled with.
wheel=$(find "$(python -m pip cache dir)" -name 'llama_cpp_python-*.whl' 2>/dev/null | head -n 1 || true)
"${pip[@]}" install ${wheel:+"$wheel"} "pytest~=8.4.0" --editable . --group test
"$folder/venv/bin/python" -V
"$folder/venv/bin/python" -m pip list 2>/dev/null | grep -iE '^(seatrial|pytest|torch) ' || true
"$folder/venv/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist=loadfile \
  tests/test_{install,plugin,gate,options,terminal,xdist,place,verify,compare,cases,stats}.py
