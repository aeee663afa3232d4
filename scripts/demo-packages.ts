/** Prints the Debian packages that scripts/demo needs, one a line. */
import { DISK_PACKAGES } from "../test/lab/disk.ts";
import { OS_IMAGE_PACKAGES } from "../test/lab/os-image.ts";
import { REGISTRY_PACKAGES } from "../test/lab/registry.ts";

console.log([...new Set([...DISK_PACKAGES, ...OS_IMAGE_PACKAGES, ...REGISTRY_PACKAGES, "libcap2-bin"])].join("\n"));
