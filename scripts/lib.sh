# Shared by the scripts here: gets what a bare Debian 12 machine with Node lacks, and says so. Sourced, not run.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DENO_VERSION=$(cat "$ROOT/scripts/deno-version")

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Sets DENO to an executable of exactly the pinned version: the person's own if it is that one, else the npm package's.
ensure_deno() {
  local own dir="$ROOT/.cache/deno-$DENO_VERSION"
  own=$(command -v deno || true)
  if [ -n "$own" ] && [ "$("$own" --version 2>/dev/null | sed -n '1s/^deno \([0-9.]*\).*/\1/p')" = "$DENO_VERSION" ]; then
    DENO=$own
  else
    DENO=$dir/node_modules/deno/deno
    # The package's own post-install step links the executable in place; npm may refuse to run it, so it is looked up where it lies.
    if [ ! -x "$dir/ready" ]; then
      command -v npm >/dev/null || die "neither Deno $DENO_VERSION nor npm is here: install Node.js with npm, then run this again"
      say "getting Deno $DENO_VERSION from npm"
      mkdir -p "$dir"
      printf '{"private":true}\n' > "$dir/package.json"
      (cd "$dir" && npm install --no-save --no-audit --no-fund --loglevel=error "deno@$DENO_VERSION" >&2) || die "npm could not install Deno $DENO_VERSION"
      ln -sf "$(find "$dir/node_modules/@deno" -name deno -type f -size +1M | head -n 1)" "$dir/ready"
      [ -x "$dir/ready" ] || die "the npm package of Deno $DENO_VERSION holds no executable for this machine"
    fi
    DENO=$(readlink -f "$dir/ready")
  fi
  export DENO DENO_NO_UPDATE_CHECK=1
  PATH=$(dirname "$DENO"):$PATH
}

# ensure_packages NAME...: Debian packages that are missing are installed, and named.
ensure_packages() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing, and only root can install them: ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq >&2 || die "apt-get update failed"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || die "apt-get could not install: ${missing[*]}"
}
