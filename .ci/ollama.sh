#!/usr/bin/env bash
# Builds Ollama from its Go module, once, and prints the path of the binary: export SEATRIAL_OLLAMA=$(.ci/ollama.sh)
#
# 0.24.0 is the newest release that a plain Go build makes whole: later ones need a llama-server beside them.
# The module archive leaves out the folders of three vendored headers, so those come from Debian and PyPI.
# People have Ollama from its own installer; this is for machines that reach package registries only.
set -euo pipefail
exec 3>&1 1>&2 # tools chatter on standard error: standard output is the path

version=0.24.0
miniaudio=1.71
cache="${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/ollama-$version"
binary="$cache/bin/ollama"
include="$cache/include"

fail() {
  echo "ollama.sh: $*"
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

answers() { # the discard port: a server that happens to run shall not answer for the binary
  [ -x "$binary" ] && OLLAMA_HOST=127.0.0.1:9 timeout 20 "$binary" --version 2>/dev/null | grep -qF "$version"
}

finish() {
  printf '%s\n' "$binary" >&3
  exit 0
}

has_header() {
  printf '#include <%s>\n' "$1" | "$cxx" -I"$include" -E -x c++ - >/dev/null 2>&1
}

from_debian() { # PACKAGE HEADER: unpacked into the cache, so that it needs no root and changes no system
  has_header "$2" && return
  need apt-get "install $2 by hand (Debian's package is $1)"
  local work="$cache/debian"
  mkdir -p "$work"
  rm -f "$work/$1"_*.deb
  (cd "$work" && apt-get -qq download "$1" 2>"$log") ||
    { [ "$(id -u)" -eq 0 ] && apt-get -qq update && (cd "$work" && apt-get -qq download "$1"); } ||
    fail "cannot download the Debian package $1: run 'apt-get update' as root, or install it"
  dpkg -x "$work/$1"_*.deb "$work"
  cp -R "$work/usr/include/." "$include/"
  has_header "$2" || fail "the Debian package $1 does not hold $2"
}

from_pypi() { # only the source archive of the Python package holds the header
  has_header miniaudio/miniaudio.h && return
  need "$python" "set PYTHON to a Python that has pip"
  mkdir -p "$include/miniaudio"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary=miniaudio \
    --dest "$cache/pypi" "miniaudio==$miniaudio" >"$log" 2>&1 ||
    fail "cannot download miniaudio $miniaudio with pip: $(tail -n 1 "$log")"
  tar -xzf "$cache/pypi/miniaudio-$miniaudio.tar.gz" -C "$include/miniaudio" --strip-components=2 \
    "miniaudio-$miniaudio/miniaudio/miniaudio.h"
  has_header miniaudio/miniaudio.h || fail "the source archive of miniaudio $miniaudio lacks its header"
}

answers && finish

cxx="${CXX:-c++}"
python="${PYTHON:-python3}"
need go "install Go 1.26 or newer"
need "$cxx" "install a C++ compiler (Debian's package is g++)"
need flock "install util-linux"
mkdir -p "$include" "$cache/bin"
exec 9>"$cache/lock"
flock 9
answers && finish # another one built it while we waited

log="$cache/log"
from_debian nlohmann-json3-dev nlohmann/json.hpp
from_debian libstb-dev stb/stb_image.h
from_pypi

# Without these instructions, which a plain Go build leaves out, a CPU answers several times slower.
march=
if grep -qw avx2 /proc/cpuinfo 2>/dev/null && grep -qw fma /proc/cpuinfo && grep -qw f16c /proc/cpuinfo; then
  march=-march=x86-64-v3
fi

echo "ollama.sh: building Ollama $version with $(go version | cut -d ' ' -f 3), which takes some minutes"
# The linker flag: a build from the module says of itself that it is version 0.0.0.
GOBIN="$cache/built" CGO_ENABLED=1 CGO_CFLAGS="-O2 $march" CGO_CXXFLAGS="-O2 $march '-I$include'" \
  go install -ldflags "-s -w -X=github.com/ollama/ollama/version.Version=$version" \
  "github.com/ollama/ollama@v$version" >"$log" 2>&1 ||
  fail "the build failed: $(grep -m 1 -E 'error|requires|cannot' "$log" || tail -n 1 "$log") (all of it: $log)"
mv "$cache/built/ollama" "$binary" # in one step: a build that was cut off leaves no binary
answers || fail "$binary was built but does not say that it is version $version"
echo "ollama.sh: built in $SECONDS s"
finish
