import { Buffer } from 'node:buffer';
import { type ByteText, fromBytes, toBytes } from './bytes.js';

/** How a command is laid out as text. */
export interface PrintOptions {
  /** Breaks the line after each variable and between an option's arguments, with `\` at its end. Default: false. */
  readonly lineBreaks?: boolean;
  /** Prints only the last part of the program's path. Default: false. */
  readonly stripPath?: boolean;
}

/** What is printed of a command. */
export interface Printable {
  readonly env: readonly (readonly [name: string, value: ByteText])[];
  /** The program first, then its arguments. */
  readonly argv: readonly ByteText[];
}

/** The characters that make libvirt quote a word; every other is left bare. */
const NEEDS_QUOTES = /[\r\t\n !"#$&'()*;<>?[\\\]^`{|}~]/;

/** Words that a shell would not take for a program's name: `a=b` is an assignment, `if` opens a statement. */
const NOT_A_PROGRAM =
  /^(?:[A-Za-z_]\w*\+?=.*|if|then|elif|else|fi|for|while|until|do|done|case|esac|in|function|select|time|coproc)$/s;

const SHELL_NAME = /^[A-Za-z_]\w*$/;

/**
 * A word as a POSIX shell reads it back: bare where libvirt leaves it bare, else in single quotes.
 *
 * Bytes that are not UTF-8 have no place in a string; they are printed as `"$(printf '\377')"`, which gives them back.
 */
export function quoteWord(word: ByteText): string {
  if (typeof word !== 'string') return quoteBytes(toBytes(word));
  if (word !== '' && !NEEDS_QUOTES.test(word)) return word;
  return singleQuoted(word);
}

function singleQuoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function quoteBytes(bytes: Buffer): string {
  // One character for each byte: runs of ASCII stay text, runs of anything else become octal escapes.
  // No such run ends in a newline, so `$( )` cuts nothing off.
  return bytes
    .toString('latin1')
    .replaceAll(/[\x01-\x7f]+|[\x80-\xff]+/g, (run) =>
      run.charCodeAt(0) < 0x80
        ? quoteWord(run)
        : `"$(printf '${Array.from(run, (byte) => `\\${byte.charCodeAt(0).toString(8)}`).join('')}')"`,
    );
}

/**
 * Prints a command so that a shell would run the same, to the letter as `virCommandToString` does.
 *
 * A variable whose name no shell can assign (`A-B`) makes it start with `env`, which can.
 */
export function printCommand({ env, argv }: Printable, options?: PrintOptions): string {
  if (argv.length === 0) return '';
  const lineBreaks = isSaid(options, 'lineBreaks');
  const stripPath = isSaid(options, 'stripPath');
  const lineBreak = lineBreaks ? ' \\\n' : ' ';
  const [program = '', ...args] = argv;
  let text = '';
  if (!env.every(([name]) => SHELL_NAME.test(name))) {
    // A name with a dash in front would be an option to env.
    text = env.some(([name]) => name.startsWith('-')) ? `env --${lineBreak}` : `env${lineBreak}`;
  }
  for (const [name, value] of env) text += `${quoteName(name)}=${quoteWord(value)}${lineBreak}`;
  text += quoteProgram(stripPath ? basename(program) : program);

  if (!lineBreaks) {
    for (const arg of args) text += ` ${quoteWord(arg)}`;
    return text;
  }
  const isOption = args.map(startsWithDash);
  const lastOption = isOption.lastIndexOf(true);
  let optionSeen = false;
  for (const [index, arg] of args.entries()) {
    // An option starts a line. A value stays on its option's line, as long as an option stands
    // right before it or comes anywhere after it; positional arguments have lines of their own.
    const staysOnLine = isOption.at(index) !== true && optionSeen && lastOption >= index - 1;
    text += (staysOnLine ? ' ' : lineBreak) + quoteWord(arg);
    optionSeen ||= isOption.at(index) === true;
  }
  return text;
}

/** The variables and arguments as bytes, unquoted, with a space between them and a newline at the end, as `virCommandWriteArgLog` writes them. */
export function argLog({ env, argv }: Printable): Buffer {
  const words = [
    ...env.map(([name, value]) => Buffer.concat([Buffer.from(`${name}=`), toBytes(value)])),
    ...argv.map(toBytes),
  ];
  return Buffer.concat(words.flatMap((word, index) => [word, Buffer.from(index < words.length - 1 ? ' ' : '\n')]));
}

const isSaid = (options: PrintOptions | undefined, name: keyof PrintOptions): boolean =>
  options !== undefined && Object.hasOwn(options, name) && options[name] === true;

function quoteName(name: string): string {
  return NEEDS_QUOTES.test(name) ? singleQuoted(name) : name;
}

function quoteProgram(program: ByteText): string {
  return typeof program === 'string' && NOT_A_PROGRAM.test(program) ? singleQuoted(program) : quoteWord(program);
}

function startsWithDash(word: ByteText): boolean {
  return typeof word === 'string' ? word.startsWith('-') : toBytes(word)[0] === 0x2d;
}

function basename(program: ByteText): ByteText {
  const bytes = toBytes(program);
  return fromBytes(bytes.subarray(bytes.lastIndexOf('/') + 1));
}
