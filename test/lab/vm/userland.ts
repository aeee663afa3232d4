/**
 * What the lab's systems have above the demo's: the program, the tools that it calls, a network, and an init that does late in
 * the boot what the units of `packaging/systemd` do, then what the host asks for over the second serial line.
 */
import { readFileSync } from "node:fs";
import { markingUnit } from "../counting.ts";
import { programEntries } from "../libraries.ts";
import * as t from "../tar-writer.ts";

/** What `cos` calls, at the places where it looks. */
const TOOLS = ["/sbin/mke2fs", "/sbin/tune2fs", "/sbin/e2fsck"];

/** Where a system's own misbehaviour stands: a script that runs before it says that it is up. */
export const BEHAVIOUR = "etc/lab/behaviour";

const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/
. /etc/os-release
mount -t tmpfs tmp /tmp
echo "lab: $PRETTY_NAME starts, on Linux $(uname -r)"
[ ! -e /${BEHAVIOUR} ] || . /${BEHAVIOUR}
ip link set lo up
# Its driver is there, and its name is the one that udev has chosen.
interface=$(basename /sys/class/net/e*)
ip link set "$interface" up
ip address add 10.0.2.15/24 dev "$interface"
ip route add default via 10.0.2.2
mount "$(findfs LABEL=COS_OEM)" /oem
mount "$(findfs LABEL=COS_PERSISTENT)" /usr/local

# As systemd starts cos-boot-good.service and cos-boot-note.service.
if [ -e /etc/systemd/system/multi-user.target.wants/cos-boot-good.service ]; then
  cos boot good --checks > /tmp/good 2>&1
  status=$?
  sed 's/^/lab: boot good: /' /tmp/good
  case "$status $(cat /proc/cmdline)" in
    "0 "*) ;;
    *cos.tries_left=*) echo "lab: not good, reboots"; sync; reboot -f; sleep 60 ;;
  esac
fi
exec /usr/sbin/lab-agent
`;

/**
 * One line a command, `ID BASE64`, and one for its end, `ID STATUS OUT ERR` with a letter before each base64. The first one
 * says that the system is up.
 */
const AGENT = `#!/bin/sh
# As an init restarts (busybox's reboot sends it this), but with no sync: what cos says is done is on the disk.
trap 'echo "lab: restarts"; reboot -f' TERM
exec 3<>/dev/ttyS1
stty raw -echo <&3
. /etc/os-release
encoded() { base64 -w 0 "$1"; }
cat /proc/cmdline > /tmp/cmdline
root=$(awk '$5 == "/" { print $3 }' /proc/self/mountinfo | tail -n 1)
# Behind whatever firmware has written on this line.
echo >&3
echo "up $VERSION_ID $(uname -r) $(encoded "/sys/dev/block/$root/loop/backing_file") $(encoded /tmp/cmdline)" >&3
echo "lab: up"
while read -r id script <&3; do
  echo "$script" | base64 -d > /tmp/script
  sed 's/^/lab# /' /tmp/script
  sh /tmp/script > /tmp/out 2> /tmp/err < /dev/null 3>&-
  status=$?
  cat /tmp/out /tmp/err | sed 's/^/lab: /'
  echo "$id $status o$(encoded /tmp/out) e$(encoded /tmp/err)" >&3
done
`;

/** Entries of a system that marks itself good. */
export async function userlandEntries(program: string): Promise<t.TarItem[]> {
  return [
    t.directory("usr/lib/x86_64-linux-gnu"),
    t.directory("usr/lib/lab"),
    ...await programEntries(TOOLS),
    t.file("etc/mke2fs.conf", readFileSync("/etc/mke2fs.conf")),
    t.file("usr/bin/cos", readFileSync(program), { mode: 0o755 }),
    t.file("usr/sbin/init", INIT, { mode: 0o755 }),
    t.file("usr/sbin/lab-agent", AGENT, { mode: 0o755 }),
    ...markingUnit(),
  ];
}
