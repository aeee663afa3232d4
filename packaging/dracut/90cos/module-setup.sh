#!/bin/bash
# dracut's module: puts cos into the initramfs, where it mounts the image that the kernel came from.
# shellcheck disable=SC2154
# Belongs in /usr/lib/dracut/modules.d/90cos; then: dracut --add cos

check() {
	require_binaries cos || return 1
	return 255
}

depends() {
	echo base
}

installkernel() {
	instmods loop ext4 xfs btrfs
	# What ends a boot on trial that hangs. Hardware watchdogs load by themselves.
	instmods softdog i6300esb iTCO_wdt sp5100_tco ipmi_watchdog
}

install() {
	# Without this, dracut strips what it takes along, and with that cuts off what cos carries behind its first part.
	# shellcheck disable=SC2034
	do_strip=no
	inst_multiple cos modprobe sleep cat rm
	# A partition that does not mount is checked; labels of older images are changed with their checksum.
	inst_multiple -o e2fsck tune2fs
	inst_script "$moddir/cos-root.sh" /usr/sbin/cos-root
	# Before the modules that wait for a device with the label of an image.
	inst_hook cmdline 20 "$moddir/parse-cos.sh"
	inst_hook mount 10 "$moddir/mount-cos.sh"
	if dracut_module_included "systemd"; then
		inst_simple "$moddir/cos-root.service" "$systemdsystemunitdir/cos-root.service"
		inst_script "$moddir/cos-root-generator.sh" "$systemdutildir/system-generators/cos-root-generator"
		# There it goes before the one of the same name.
		inst_script "$moddir/cos-fstab-generator.sh" /etc/systemd/system-generators/systemd-fstab-generator
	fi
	dracut_need_initqueue
}
