import { fileURLToPath } from 'node:url';

/** The folder of this library's own files, as a stack trace names them. */
const library = new URL('..', import.meta.url);
const ownFiles = [library.href, fileURLToPath(library)];

/** The place in the caller's code, as file, line and column. */
export function callSite(): string | undefined {
  const frames = new Error().stack?.split('\n').slice(1) ?? [];
  // Frames without a file are built-in functions that called us back.
  const outside = frames.find((frame) => /:\d+:\d+\)?$/.test(frame) && !ownFiles.some((file) => frame.includes(file)));
  return outside === undefined ? undefined : /\(?([^\s()]+:\d+:\d+)\)?$/.exec(outside)?.[1];
}
