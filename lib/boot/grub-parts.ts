// Made by scripts/generate.ts from packaging/grub; do not edit.

/** Added to `/grubcustom`, which the boot menus of this family read. */
export const GRUB_HOOK = `# cos: boot counting, begin
search --no-floppy --file --set=cos_script /grub_boot_assessment
if [ -n "\${cos_script}" ]; then
  source "(\${cos_script})/grub_boot_assessment"
fi
# cos: boot counting, end
`;

/** `/grub_boot_assessment`. */
export const GRUB_SCRIPT = `# cos: boot counting, script. Written by "cos boot install".
# To take it away: cos boot install --remove
#
# A new system has three boots to say that it is good ("cos boot good" empties cos_tries). Before each of them one try is taken
# away and saved; with none left, the fallback entry starts. What cannot be saved is not tried. GRUB has no arithmetic.
# Entries are 0 cos, 1 fallback, 2 recovery: GRUB 2.06 knows an id in "default", but not in "fallback".
set cos_where=
set cos_tries=
set cos_left=
set cos_label=COS_STATE
if [ -n "\${state_label}" ]; then
  set cos_label="\${state_label}"
fi
search --no-floppy --label --set=cos_where "\${cos_label}"
if [ -z "\${cos_where}" ]; then
  search --no-floppy --file --set=cos_where /boot_assessment
fi
# Only these names: the file must not be able to set others, like root or prefix.
if [ -n "\${cos_where}" ]; then
  if [ -s "(\${cos_where})/boot_assessment" ]; then
    load_env -f "(\${cos_where})/boot_assessment" cos_tries enable_boot_assessment enable_boot_assessment_always boot_assessment_tentative
  fi
fi
if [ -z "\${fallback}" ]; then
  set fallback="1 2"
fi

# A one-shot entry, or one that the operator has made the default, is no try of the new system.
set cos_counted=yes
if [ -n "\${selected_entry}" ]; then
  set cos_counted=
fi
if [ "\${default}" = "fallback" -o "\${default}" = "recovery" -o "\${default}" = "1" -o "\${default}" = "2" ]; then
  set cos_counted=
fi

if [ -n "\${cos_counted}" -a -n "\${cos_tries}" ]; then
  if [ "\${cos_tries}" = "3" ]; then
    set cos_left=2
  elif [ "\${cos_tries}" = "2" ]; then
    set cos_left=1
  elif [ "\${cos_tries}" = "1" ]; then
    set cos_left=0
  fi
  if [ -z "\${cos_left}" ]; then
    # 0, or a value that nobody knows: the tries are used up.
    set default=fallback
    set fallback=2
    set extra_passive_cmdline="\${extra_passive_cmdline} upgrade_failure"
  else
    set cos_tries="\${cos_left}"
    if save_env -f "(\${cos_where})/boot_assessment" cos_tries; then
      set extra_active_cmdline="\${extra_active_cmdline} cos.tries_left=\${cos_left} rd.emergency=reboot rd.shell=0 panic=5 systemd.crash_reboot"
    else
      set default=fallback
      set fallback=2
      set extra_passive_cmdline="\${extra_passive_cmdline} upgrade_failure cos.env_unwritable"
    fi
  fi
elif [ -n "\${cos_counted}" ]; then
  # An upgrade by an older tool, which allows one try.
  if [ "\${enable_boot_assessment}" = "yes" -o "\${enable_boot_assessment_always}" = "yes" ]; then
    if [ "\${boot_assessment_tentative}" = "yes" ]; then
      set default=fallback
      set fallback=2
      set extra_passive_cmdline="\${extra_passive_cmdline} upgrade_failure"
    else
      set boot_assessment_tentative=yes
      if save_env -f "(\${cos_where})/boot_assessment" boot_assessment_tentative; then
        set extra_active_cmdline="\${extra_active_cmdline} rd.emergency=reboot rd.shell=0 panic=5 systemd.crash_reboot"
      fi
    fi
  fi
fi
`;

/** Added to `/grubcustom` as well. */
export const IMAGE_HOOK = `# cos: image UUIDs, begin
set cos_script=
search --no-floppy --file --set=cos_script /grub_image_uuid
if [ -n "\${cos_script}" ]; then
  source "(\${cos_script})/grub_image_uuid"
fi
# cos: image UUIDs, end
`;

/** `/grub_image_uuid`. */
export const IMAGE_SCRIPT = `# cos: image UUIDs. Written by "cos boot install".
# To take it away: cos boot install --remove
#
# GRUB does not replay a partition's journal, and Linux does: after a power cut a name may lead them to two images, for one
# boot. So each entry passes on which image its kernel comes from, and the initramfs takes that one as the root.
# Without the module "probe" nothing is passed on, and the name decides.
set cos_label=COS_STATE
if [ -n "\${state_label}" ]; then
  set cos_label="\${state_label}"
fi
set cos_place=
if search --no-floppy --label --set=cos_place "\${cos_label}"; then
  # Names of their own: "loopback" refuses one that exists.
  set cos_uuid=
  if [ -s "(\${cos_place})/cOS/active.img" ]; then
    loopback cos_active "(\${cos_place})/cOS/active.img"
    if probe --set=cos_uuid --fs-uuid (cos_active); then
      set extra_active_cmdline="\${extra_active_cmdline} cos.image_uuid=\${cos_uuid}"
    fi
    loopback -d cos_active
  fi
  set cos_uuid=
  if [ -s "(\${cos_place})/cOS/passive.img" ]; then
    loopback cos_passive "(\${cos_place})/cOS/passive.img"
    if probe --set=cos_uuid --fs-uuid (cos_passive); then
      set extra_passive_cmdline="\${extra_passive_cmdline} cos.image_uuid=\${cos_uuid}"
    fi
    loopback -d cos_passive
  fi
fi
set cos_label=COS_RECOVERY
if [ -n "\${recovery_label}" ]; then
  set cos_label="\${recovery_label}"
fi
# Not every machine has such a partition: GRUB then says so for a moment, and goes on.
set cos_place=
if search --no-floppy --label --set=cos_place "\${cos_label}"; then
  set cos_uuid=
  set cos_fs=
  if [ -s "(\${cos_place})/cOS/recovery.img" ]; then
    loopback cos_recovery "(\${cos_place})/cOS/recovery.img"
    # A squashfs, which some have by that name too, has no UUID.
    if probe --set=cos_fs --fs (cos_recovery); then
      if [ "\${cos_fs}" = "ext2" ]; then
        if probe --set=cos_uuid --fs-uuid (cos_recovery); then
          set extra_recovery_cmdline="\${extra_recovery_cmdline} cos.image_uuid=\${cos_uuid}"
        fi
      fi
    fi
    loopback -d cos_recovery
  fi
fi
`;
