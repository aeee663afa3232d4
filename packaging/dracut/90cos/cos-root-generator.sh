#!/bin/sh
# Makes systemd wait for cos-root.service before /sysroot counts as mounted, and for no device with the label of an image.
case " $(cat /proc/cmdline) " in
	*" cos-img/filename="*) ;;
	*) exit 0 ;;
esac
early=$2
late=$3

# Whatever unit others make for it: it is mounted by then, so nothing of this is carried out.
mkdir -p "$early/sysroot.mount.d" "$late/initrd-root-fs.target.requires"
cat > "$early/sysroot.mount.d/90-cos.conf" << 'UNIT'
[Unit]
Requires=cos-root.service
After=cos-root.service

[Mount]
What=/run/cos/root
Type=ext4
Options=ro
UNIT
cat > "$late/sysroot.mount" << 'UNIT'
[Unit]
DefaultDependencies=no
Before=initrd-root-fs.target

[Mount]
What=/run/cos/root
Where=/sysroot
UNIT
ln -sf ../sysroot.mount "$late/initrd-root-fs.target.requires/sysroot.mount"

# shellcheck disable=SC2013
for word in $(cat /proc/cmdline); do
	case $word in
		root=LABEL=*)
			name=$(systemd-escape -p --suffix=device "/dev/disk/by-label/${word#root=LABEL=}")
			mkdir -p "$early/$name.d"
			printf '[Unit]\nJobTimeoutSec=10\nJobRunningTimeoutSec=10\n' > "$early/$name.d/zz-cos.conf"
			;;
	esac
done
