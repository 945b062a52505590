#!/bin/sh
# Installs the peers that pip and npm do not bring: gateways, proxies, Redis, a browser, curl, Node and Go, from Debian's packages.
# It takes root.
# What npm has, `ws`, undici and the runtimes, PyPI's Envoy and Go's h2spec are installed by the tests themselves, under .cache/.
set -eu

missing=""
command -v haproxy >/dev/null || missing="$missing haproxy"
command -v nghttpx >/dev/null || missing="$missing nghttp2-proxy"
command -v tinyproxy >/dev/null || missing="$missing tinyproxy"
command -v squid >/dev/null || missing="$missing squid"
command -v microsocks >/dev/null || missing="$missing microsocks"
command -v danted >/dev/null || missing="$missing dante-server"
command -v chromium >/dev/null || missing="$missing chromium"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v curl >/dev/null || missing="$missing curl"
command -v go >/dev/null || missing="$missing golang-go"
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v openssl >/dev/null || missing="$missing openssl"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing. As root on Debian or Ubuntu this script installs them; their tests are skipped." >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # several packages
apt-get install -qq -y --no-install-recommends $missing
