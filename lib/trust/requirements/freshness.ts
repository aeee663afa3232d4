/** How old the image may be: a registry, or somebody before it, can go on serving a signed image of long ago. */
import * as z from "zod/mini";
import type { RequirementKind } from "../requirement.ts";
import { refusal } from "../verdict.ts";

const UNITS = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const;
/** Creation times of reproducible builds are often 1970 or so: they say nothing. */
const LEAST_CREATED = Date.UTC(2015, 0, 1);
/** Clocks differ a little. Milliseconds. */
const AHEAD = 24 * 3_600_000;

export const freshness: RequirementKind<{ maxAge: string }> = {
  type: "freshness",
  own: true,
  schema: z.strictObject({
    type: z.literal("freshness"),
    maxAge: z.string().check(z.regex(/^[1-9][0-9]{0,4}[hdw]$/)),
  }),
  prepare: ({ maxAge }) =>
    Promise.resolve({
      type: "freshness",
      words: `signed or made less than ${maxAge} ago`,
      proves: false,
      needs: [],
      verify: (_material, { created, now }, sofar) => {
        const limit = Number(maxAge.slice(0, -1)) * UNITS[maxAge.slice(-1) as keyof typeof UNITS];
        const proven = sofar.flatMap(({ time }) => time ?? []).map((time) => new Date(time)).sort((a, b) => +b - +a)[0];
        const usable = created === undefined || +created < LEAST_CREATED ? undefined : created;
        const time = proven ?? usable;
        if (time === undefined) return Promise.resolve(refusal("nothing says when the image was signed or made"));
        if (+time > +now + AHEAD) {
          return Promise.resolve(
            refusal(
              "the image is from the future, or this machine's clock is wrong",
              now.toISOString(),
              time.toISOString(),
            ),
          );
        }
        if (+now - +time > limit) {
          return Promise.resolve(
            refusal(
              `the image is older than ${maxAge}`,
              `${new Date(+now - limit).toISOString()} or later`,
              time.toISOString(),
            ),
          );
        }
        return Promise.resolve("holds");
      },
    }),
};
