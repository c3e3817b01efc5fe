import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The C sources of the addon. */
export const sources = fileURLToPath(new URL('../../src/native', import.meta.url));

/** A file of this directory. */
export const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** A whole number from the environment: how long, or how often. */
export function setting(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 0)
    throw new Error(`${name} is '${String(process.env[name])}'; it is a whole number.`);
  return value;
}

/** Whether a program of that name runs here. */
export function has(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
