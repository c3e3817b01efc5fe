/** The lines of a text: each ends with `\n` or `\r\n`, and the last one may end with nothing. A text that is empty has none. */
export function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return text.includes('\r') ? lines.map(withoutReturn) : lines;
}

/** A line without the `\r` of its `\r\n`. */
export const withoutReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line);
