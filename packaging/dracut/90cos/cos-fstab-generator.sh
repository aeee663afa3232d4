#!/bin/sh
# In the place of systemd's generator of that name: the same, but for what it makes of root=. That would wait for a device with
# the label of an image, and end the boot where none appears in time, although the root is mounted long since.
/lib/systemd/system-generators/systemd-fstab-generator "$@"
status=$?
case " $(cat /proc/cmdline) " in
	*" cos-img/filename="*)
		rm -rf -- "${1:?}/sysroot.mount" "$1/initrd-root-fs.target.requires/sysroot.mount" \
			"$1/initrd-root-device.target.d" "$1/systemd-fsck-root.service"
		;;
esac
exit "$status"
