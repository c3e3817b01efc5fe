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

/** The error of Node's permission model, as `child_process` and `fs` throw it. It is the cause of another one, which tells the way out. */
export function accessDenied(permission: string, resource: string): Error {
  const error = new Error('Access to this API has been restricted');
  return Object.assign(error, { code: 'ERR_ACCESS_DENIED', permission, resource });
}
