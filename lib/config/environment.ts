/** The environment is read here and nowhere else; what needs a variable of it is given this function. */

export type Environment = (name: string) => string | undefined;

export const environment: Environment = (name) => Deno.env.get(name);

/**
 * What may steer a program that we start before it has begun, or an interpreter: the loader, the runtimes, the shells. Nobody
 * sets these for a helper's sake, and this program runs as root.
 */
const STEERING =
  /^(?:LD_|DENO_|NODE_|V8_|COS_|GCONV_|GLIBC_|LOCPATH$|NLSPATH$|MALLOC_|PYTHON|PERL|RUBY|BASH_|ENV$|SHELLOPTS$|IFS$|PATH$)/;

/** For a helper program, which is configured by variables (of a cloud's, or `HOME`): all but what would steer it. */
export function helperEnvironment(all: Record<string, string> = Deno.env.toObject()): Record<string, string> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => !STEERING.test(name)));
}

/** Runs the action while these variables are not set, and sets them again. Nothing may wait in the action. */
export function withoutVariables<T>(names: readonly string[], action: () => T): T {
  const saved = names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  for (const [name] of saved) Deno.env.delete(name);
  try {
    return action();
  } finally {
    for (const [name, value] of saved) Deno.env.set(name, value);
  }
}
