#!/usr/bin/env bash
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Sets up a machine for `make test` and `make demo`: Debian packages, then a virtual environment with pinned versions.
# Usage: setup.sh VENV. Needs root or sudo only when packages are missing; changes nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$1

# redis-tools rather than redis-server: it holds the same program, and no service that would start at boot.
packages=(
  python3-venv
  podman runc netavark aardvark-dns containernetworking-plugins debootstrap openssh-client
  openssl redis-tools nftables haproxy
)
# Looks at the report's pictures; elsewhere the test that needs it is left out where there is none.
if [ -n "${CI:-}" ]; then packages+=(chromium); fi

say() { printf '\n== %s\n' "$*"; }
die() {
  printf '\nsetup: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "the packages ${missing[*]} are missing, and installing them needs root: run as root, or install sudo"
  fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
  say "Installing Debian packages: ${missing[*]}"
  # Packages start their services at installation unless this says no; one that is there already is left alone.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 0755 "$policy"
  fi
  local result=0
  {
    as_root apt-get update -q &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
  } || result=$?
  if [ -n "$ours" ]; then as_root rm -f "$policy"; fi
  [ "$result" -eq 0 ] || die "apt-get could not install ${missing[*]}; its messages above say why"
  if [[ " ${missing[*]} " == *" haproxy "* ]] && command -v systemctl >/dev/null; then
    as_root systemctl disable --quiet haproxy.service || true # tests start their own; no boot should
  fi
}

find_python() {
  local candidate
  for candidate in "${LIFELINE_PYTHON:-}" /usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python 3.11 or later is on this machine; install one, or name it in LIFELINE_PYTHON"
}

# What makes an environment anew empties the folder first, and would follow the link to do so.
if [ -L "$venv" ]; then
  die "$venv is a symbolic link to $(readlink "$venv"), which would be emptied: remove the link, or work where that folder is"
fi

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
  done
  if [ "${#missing[@]}" -gt 0 ]; then install_packages; fi
else
  say "Not a Debian machine: install these yourself, by your distribution's names: ${packages[*]}"
fi

mkdir -p .cache/bin
if ! command -v redis-server >/dev/null && [ -x /usr/bin/redis-check-rdb ]; then
  ln -sf /usr/bin/redis-check-rdb .cache/bin/redis-server # one program; its name says what it does
fi

python=$(find_python)
# ansible-core drops the oldest Python with each release, so there is one set of versions for 3.11 and one for the rest.
constraints=$("$python" -c 'import sys; print("constraints/python3.%d.txt" % min(sys.version_info[1], 12))')
say "Making $venv with $("$python" --version) and the versions in $constraints"
"$python" -m venv --clear "$venv"
"$venv/bin/python" tests/tools/install.py "$constraints"
