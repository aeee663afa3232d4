/** The labels by which a machine of this family knows its partitions, and the filesystems in its images. */

export interface Labels {
  state: string;
  /** Inside `active.img` and `passive.img`. */
  active: string;
  passive: string;
  recovery: string;
  /** Inside the recovery system's image. */
  system: string;
  oem: string;
  persistent: string;
}

export type LabelName = keyof Labels;

export const USUAL_LABELS: Readonly<Labels> = {
  state: "COS_STATE",
  active: "COS_ACTIVE",
  passive: "COS_PASSIVE",
  recovery: "COS_RECOVERY",
  system: "COS_SYSTEM",
  oem: "COS_OEM",
  persistent: "COS_PERSISTENT",
};

/** Of ext4, which takes the fewest bytes; a boot menu's script and the kernel's command line take it as one plain word. */
export function isLabel(text: string): boolean {
  return /^[\x21-\x7e]{1,16}$/.test(text);
}

export const LABEL_NAMES = Object.keys(USUAL_LABELS) as LabelName[];
