# Sourced in the initramfs, by some makes several times. /run goes on into the system, and with it this
# unit, which tells the boot server that the system is up. Nothing of the disc is changed.
(
write() { while IFS= read -r line; do printf '%s\n' "$line"; done >"$1"; }  # not all have cat
mkdir -p /run/systemd/system/multi-user.target.wants

write /run/systemd/system/bootserver-up.service <<'UNIT'
[Unit]
Description=Tell the boot server that this system is up
[Service]
Type=idle
ExecStart=/bin/sh /run/bootserver-up.sh
UNIT
ln -sf ../bootserver-up.service /run/systemd/system/multi-user.target.wants/

write /run/bootserver-up.sh <<'UP'
curl -fso /dev/null {{ url | sh }} && exit
wget -qO /dev/null {{ url | sh }} && exit
bash -c 'exec 3<>"/dev/tcp/$0/$1"; printf "GET %s HTTP/1.0\r\n\r\n" "$2" >&3; read -r line <&3' {{ host | sh }} {{ port }} {{ path | sh }}
UP
)
