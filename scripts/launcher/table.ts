/** The table at the end of the static file: for each part its name, then kind, offset and size; launcher.c reads it too. */

export const MAGIC = "cos-static-file1";
export const NAME_BYTES = 40;
/** Of one part. */
export const MEMBER_BYTES = NAME_BYTES + 3 * 8;
/** Behind the table: the number of parts, the file's size, the magic word. */
export const TRAILER_BYTES = 2 * 8 + MAGIC.length;
