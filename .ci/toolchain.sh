#!/bin/sh
# Makes sure of the system tools: the Arm cross compiler, gdb for it, and a host C compiler with
# sanitizers. Installs what is missing with apt where that is possible without a question;
# otherwise says exactly what to do.
set -eu

missing=""
command -v arm-none-eabi-gcc >/dev/null 2>&1 || missing="$missing gcc-arm-none-eabi"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v gdb-multiarch >/dev/null 2>&1 || command -v arm-none-eabi-gdb >/dev/null 2>&1 ||
  missing="$missing gdb-multiarch"
[ -n "$missing" ] || exit 0

explain() {
  echo "These system packages are missing:$missing" >&2
  echo "  Debian, Ubuntu:  sudo apt-get install$missing" >&2
  echo "  macOS:           brew install --cask gcc-arm-embedded" >&2
  echo "  conda:           conda env create -f environment.yml" >&2
  exit 1
}

command -v apt-get >/dev/null 2>&1 || explain
if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo -n"; else explain; fi
echo "Installing$missing ..." >&2
$run apt-get update -q >&2 || explain
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -q --no-install-recommends $missing >&2 || explain
