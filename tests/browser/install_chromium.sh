#!/usr/bin/env bash
# The browser tests drive Debian's Chromium; brings it where it may, once.
set -euo pipefail
command -v chromium >/dev/null && exit 0
echo "Chromium is missing; installing Debian's ..." >&2
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
{ $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } \
    >/dev/null || { echo "Could not. Run: apt-get install chromium" >&2; exit 1; }
