#!/usr/bin/env bash
# Surprise: Dante, the SOCKS server of Debian's dante-server, speaks SOCKS4 and SOCKS5, but not SOCKS4A, and does not say
# so. The address 0.0.0.x, by which SOCKS4A tells a proxy to resolve the name behind it, is an address to Dante, to which
# it connects; the client gets "request rejected or failed", as if the server were not there. So `socks4a://` in a
# proxy variable fails for each server, where `socks4://` and `socks5h://` to the same proxy work.
# Versions: dante-server 1.4.2 of Debian bookworm, curl of the system.
# Source: SOCKS 4A: A Simple Extension to SOCKS 4 Protocol (Y. Lee); curl's documentation of --socks4a; Dante's log.
set -euo pipefail

folder=$(mktemp -d)
started=
cleanup() {
    for process in $started; do
        kill "$process" 2>/dev/null || true
        timeout 5 tail --pid="$process" -f /dev/null || kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
timeout 300 apt-get download -qq -o APT::Sandbox::User=root dante-server=1.4.2+dfsg-7+b8 libwrap0 libnsl2 libtirpc3
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$folder"/unpacked/usr/lib/*-linux-gnu):$(echo "$folder"/unpacked/lib/*-linux-gnu)

read -r proxy server <<< "$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))')"
cat > danted.conf <<CONF
logoutput: $folder/log
internal: 127.0.0.1 port = $proxy
external: lo
socksmethod: none
clientmethod: none
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 log: connect error }
CONF
unpacked/usr/sbin/danted -v
curl --version | head -n 1
unpacked/usr/sbin/danted -f danted.conf &
started=$!
python3 -m http.server "$server" --bind 127.0.0.1 > http.log 2>&1 &
started="$started $!"
for port in "$proxy" "$server"; do
    for _ in $(seq 100); do (: < "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
done

answers=
for scheme in socks4 socks5h socks4a; do
    answer=$(curl --ipv4 --silent --output /dev/null --write-out '%{http_code}' --max-time 10 \
        --proxy "$scheme://127.0.0.1:$proxy" "http://localhost:$server/" || true)
    echo "$scheme: status $answer"
    answers="$answers $answer"
done
grep -m 1 -o '0\.0\.0\..*' log || true
[ "$answers" = " 200 200 000" ] && grep -q '0\.0\.0\.' log
