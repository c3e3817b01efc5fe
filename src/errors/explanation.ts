import { inspect } from 'node:util';

export interface Explanation {
  readonly what: string;
  readonly wayOut?: string;
}

export function reasonText(reason: unknown): string {
  return (reason instanceof Error ? reason.message : typeof reason === 'string' ? reason : inspect(reason)).replace(
    /\.$/,
    '',
  );
}
