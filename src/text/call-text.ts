import { inspect } from 'node:util';

/** A call as it stands in a message: `env('A=B', …)`. Long texts are cut, bytes are counted, secrets and values are hidden. */
export function printCall(method: string, values: readonly unknown[]): string {
  return `${method}(${values.map(printValue).join(', ')})`;
}

/** Stands for a value that no message may show. */
export const hidden = Symbol('hidden');

const LONGEST_VALUE = 40;

function printValue(value: unknown): string {
  if (value === hidden) return '…';
  if (typeof value === 'string') {
    return inspect(value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE - 1)}…` : value);
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'function') return 'function';
  if (value instanceof URL) return `new URL('${value.href}')`;
  if (Array.isArray(value)) return `[${value.slice(0, 3).map(printValue).join(', ')}${value.length > 3 ? ', …' : ''}]`;
  return inspect(value, { depth: 0, breakLength: Infinity });
}
