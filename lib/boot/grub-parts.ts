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
