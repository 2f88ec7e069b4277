#!/bin/sh
# Makes sure of qemu-system-arm, with which tests compare the simulated cores. Installs it with apt
# where that is possible without a question; those tests are skipped where it is missing.
set -eu

command -v qemu-system-arm >/dev/null 2>&1 && exit 0

skip() {
  echo "qemu-system-arm is missing: tests against it are skipped ($1)." >&2
  exit 0
}

command -v apt-get >/dev/null 2>&1 || skip "no apt-get here"
if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo -n"; else skip "sudo asks"; fi
echo "Installing qemu-system-arm ..." >&2
$run apt-get update -q >&2 || skip "apt-get update failed"
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -q --no-install-recommends qemu-system-arm >&2 ||
  skip "apt-get install failed"
