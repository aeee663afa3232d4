// Made by scripts/generate.ts from packaging; do not edit.

export interface ImagePart {
  /** What must be in the image for it to be of use. */
  needs: "all" | "dracut" | "initramfs-tools";
  /** Within the image. */
  path: string;
  mode: number;
  text: string;
}

export const IMAGE_PARTS: readonly ImagePart[] = [
  {
    needs: "all",
    path: "usr/lib/systemd/system/cos-boot-good.service",
    mode: 0o644,
    text: `# Says that the system that was booted runs well, once it has come up and the operator's checks have passed. Where GRUB counts
# boots and this never happens, the system before it is the default again after three boots.
#
# Install it enabled in the image: systemctl enable cos-boot-good.service. "cos upgrade" looks for it, and puts no system on
# trial that lacks it.
[Unit]
Description=Mark the booted system good
After=multi-user.target
# Only a boot that GRUB has counted can fail here, so a failing check reboots at most three times.
ConditionKernelCommandLine=cos.tries_left
FailureAction=reboot

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/cos boot good --checks
# The checks have limits of their own.
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
`,
  },
  {
    needs: "all",
    path: "usr/lib/systemd/system/cos-boot-note.service",
    mode: 0o644,
    text: `# After boots that GRUB has not counted: notes that the active system has come up, or, on the fallback, that the new one failed,
# so that nothing installs it again by itself. Nothing reboots here: no count would end that.
[Unit]
Description=Note how the system came up
After=multi-user.target
ConditionKernelCommandLine=!cos.tries_left

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/cos boot good --checks
TimeoutStartSec=infinity
# A live or recovery system, which has nothing to note.
SuccessExitStatus=4

[Install]
WantedBy=multi-user.target
`,
  },
  {
    needs: "initramfs-tools",
    path: "etc/initramfs-tools/hooks/cos",
    mode: 0o755,
    text: `#!/bin/sh
# Puts cos into the initramfs: it mounts the image that the kernel came from. Belongs in /etc/initramfs-tools/hooks.
set -e
case $1 in prereqs) exit 0 ;; esac
# shellcheck source=/dev/null
. /usr/share/initramfs-tools/hook-functions

copy_exec /usr/bin/cos /usr/bin/cos
# A partition that does not mount is checked; labels of older images are changed with their checksum.
for tool in e2fsck tune2fs; do
	path=$(command -v "$tool" || true)
	[ -z "$path" ] || copy_exec "$path" /sbin
done
manual_add_modules loop ext4 xfs btrfs
# What ends a boot on trial that hangs. Hardware watchdogs load by themselves.
manual_add_modules softdog i6300esb iTCO_wdt sp5100_tco ipmi_watchdog
`,
  },
  {
    needs: "initramfs-tools",
    path: "etc/initramfs-tools/scripts/cos",
    mode: 0o644,
    text: `# Mounts the root from an image on the state partition; sourced by the initramfs of initramfs-tools as its boot method.
# shellcheck shell=sh

mount_top() { :; }
mount_premount() { :; }
mount_bottom() { :; }

mountroot() {
	wait_for_udev 10
	modprobe -q loop || true
	case " $(cat /proc/cmdline) " in
		*" cos.tries_left="*) [ -e /dev/watchdog0 ] || modprobe -q softdog || true ;;
	esac
	while :; do
		status=0
		/usr/bin/cos boot root --target "\${rootmnt:?}" || status=$?
		[ "$status" != 0 ] || return 0
		# GRUB has to choose the other system: kernel and root must come from one image.
		if [ "$status" = 9 ]; then
			sleep 5
			reboot -f
		fi
		# Reboots where the boot entry says panic=; a shell otherwise, and another try after it.
		panic "cos could not mount the root. Here are: cos status, cos rollback, cos boot root --target \${rootmnt}"
	done
}
`,
  },
  {
    needs: "initramfs-tools",
    path: "etc/initramfs-tools/scripts/init-top/cos",
    mode: 0o755,
    text: `#!/bin/sh
# Where the boot entry names an image, /scripts/cos mounts the root, whatever root= says.
case $1 in prereqs) exit 0 ;; esac

case " $(cat /proc/cmdline) " in
	*" boot="*) ;;
	*" cos-img/filename="*) echo "BOOT=cos" >> /conf/param.conf ;;
esac
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/dracut.conf.d/50-cos.conf",
    mode: 0o644,
    text: `# cos mounts the root: /usr/lib/dracut/modules.d/90cos
add_dracutmodules+=" cos "
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/cos-fstab-generator.sh",
    mode: 0o755,
    text: `#!/bin/sh
# In the place of systemd's generator of that name: the same, but for what it makes of root=. That would wait for a device with
# the label of an image, and end the boot where none appears in time, although the root is mounted long since.
/lib/systemd/system-generators/systemd-fstab-generator "$@"
status=$?
case " $(cat /proc/cmdline) " in
	*" cos-img/filename="*)
		rm -rf -- "\${1:?}/sysroot.mount" "$1/initrd-root-fs.target.requires/sysroot.mount" \\
			"$1/initrd-root-device.target.d" "$1/systemd-fsck-root.service"
		;;
esac
exit "$status"
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/cos-root-generator.sh",
    mode: 0o755,
    text: `#!/bin/sh
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
			name=$(systemd-escape -p --suffix=device "/dev/disk/by-label/\${word#root=LABEL=}")
			mkdir -p "$early/$name.d"
			printf '[Unit]\\nJobTimeoutSec=10\\nJobRunningTimeoutSec=10\\n' > "$early/$name.d/zz-cos.conf"
			;;
	esac
done
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/cos-root.service",
    mode: 0o644,
    text: `[Unit]
Description=Mount the image that the kernel came from
DefaultDependencies=no
ConditionKernelCommandLine=cos-img/filename
After=dracut-cmdline.service systemd-udevd.service systemd-udev-trigger.service
Before=sysroot.mount initrd-root-fs.target
OnFailure=emergency.target
OnFailureJobMode=replace-irreversibly

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/cos-root
StandardOutput=journal+console
StandardError=journal+console
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/cos-root.sh",
    mode: 0o755,
    text: `#!/bin/sh
# Mounts the root. Ends with cos's own status, but for the one that asks for another boot.
modprobe -q loop
case " $(cat /proc/cmdline) " in
	*" cos.tries_left="*) [ -e /dev/watchdog0 ] || modprobe -q softdog ;;
esac
/usr/bin/cos boot root --target "\${NEWROOT:-/sysroot}"
status=$?
# GRUB has to choose the other system: kernel and root must come from one image.
if [ "$status" = 9 ]; then
	sleep 5
	reboot -f
fi
exit "$status"
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/module-setup.sh",
    mode: 0o755,
    text: `#!/bin/bash
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
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/mount-cos.sh",
    mode: 0o755,
    text: `#!/bin/sh
# Without systemd. What fails is tried again, and then dracut's emergency begins, which rd.emergency= decides about.
if getarg cos-img/filename= > /dev/null && ! ismounted "$NEWROOT"; then
	NEWROOT=$NEWROOT /usr/sbin/cos-root
fi
`,
  },
  {
    needs: "dracut",
    path: "usr/lib/dracut/modules.d/90cos/parse-cos.sh",
    mode: 0o755,
    text: `#!/bin/sh
# Where the boot entry names an image, that is the root, whatever root= says: nothing waits for a device with its label.
if getarg cos-img/filename= > /dev/null; then
	# shellcheck disable=SC2034
	root=cos
	# shellcheck disable=SC2034
	rootok=1
	rm -f -- "\${hookdir:?}"/initqueue/finished/devexists-*by-label*COS_*.sh "$hookdir"/emergency/80-*by-label*COS_*.sh
fi
`,
  },
];
