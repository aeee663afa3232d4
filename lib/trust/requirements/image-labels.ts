/** Labels of the image that must have a value, like the product's name or its channel: one key may sign several. */
import * as z from "zod/mini";
import type { RequirementKind } from "../requirement.ts";
import { refusal } from "../verdict.ts";

const labels = z.record(z.string(), z.string()).check(z.refine((value) => Object.keys(value).length > 0));

export const imageLabels: RequirementKind<{ labels: Record<string, string> }> = {
  type: "imageLabels",
  own: true,
  schema: z.strictObject({ type: z.literal("imageLabels"), labels }),
  prepare: ({ labels }) => {
    const wanted = Object.entries(labels);
    return Promise.resolve({
      type: "imageLabels",
      words: `labelled ${wanted.map(([name, value]) => `${name}=${value}`).join(" and ")}`,
      proves: false,
      needs: [],
      verify: (_material, context) => {
        for (const [name, value] of wanted) {
          const found = Object.hasOwn(context.labels, name) ? context.labels[name] : undefined;
          if (found !== value) {
            return Promise.resolve(refusal(`the image's label ${name} is another`, value, found ?? "none"));
          }
        }
        return Promise.resolve("holds");
      },
    });
  },
};
