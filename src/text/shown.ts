/**
 * What would drive a terminal, or turn the text around: the control characters of ASCII and Latin-1, the separators of lines
 * and paragraphs, and the marks that change the direction of writing.
 */
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const CONTROLS_BUT_LINES = new RegExp(
  CONTROLS.source.replace(String.raw`\x00-\x1f`, String.raw`\x00-\x08\x0b-\x1f`),
  'g',
);

const short: ReadonlyMap<string, string> = new Map([
  ['\n', String.raw`\n`],
  ['\r', String.raw`\r`],
  ['\t', String.raw`\t`],
]);

function escape(character: string): string {
  const code = character.charCodeAt(0);
  return (
    short.get(character) ??
    (code < 0x100
      ? String.raw`\x${code.toString(16).padStart(2, '0')}`
      : String.raw`\u${code.toString(16).padStart(4, '0')}`)
  );
}

/** Text as it may stand in a line of a message: control characters as `\n`, `\r`, `\t`, `\x1b`, `\u202e`. */
export function shown(text: string): string {
  return text.replace(CONTROLS, escape);
}

/** The same for text of several lines: line breaks and tabs stay what they are. */
export function shownLines(text: string): string {
  return text.replace(CONTROLS_BUT_LINES, escape);
}

/** A path, a name or a value in a message. */
export function quoted(text: string): string {
  return `'${shown(text)}'`;
}

const LONGEST_COMMAND = 120;

/** A command in a message: one line of it. */
export function inBackticks(command: string): string {
  const line = shown(command);
  return line.length > LONGEST_COMMAND
    ? `\`${line.slice(0, LONGEST_COMMAND - 1).replace(/[\ud800-\udbff]$/, '')}…\``
    : `\`${line}\``;
}
