import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { argLog, printCommand, quoteWord } from '../../src/text/quote.js';
import { Command } from '../../src/index.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const lines = (...text: string[]) => text.join(' \\\n');
const print = (words: string, lineBreaks = true) => printCommand({ env: [], argv: words.split(' ') }, { lineBreaks });

describe('quoteWord', () => {
  const quoted = Array.from('\r\t\n !"#$&()*;<>?[\\]^`{|}~');
  const bare = Array.from('%+,-./:=@_0aZé€😀\x01\x02\x1b\x7f\u00a0\u2028');

  test.each(quoted.map((char) => [JSON.stringify(char), char]))(
    'puts a word with %s into single quotes',
    (_name, char) => {
      expect(quoteWord(char)).toBe(`'${char}'`);
      expect(quoteWord(`a${char}b`)).toBe(`'a${char}b'`);
    },
  );

  test.each(bare.map((char) => [JSON.stringify(char), char]))('leaves a word with %s bare', (_name, char) => {
    expect(quoteWord(char)).toBe(char);
    expect(quoteWord(`a${char}b`)).toBe(`a${char}b`);
  });

  test('the characters that are quoted and those that are not make up all of ASCII', () => {
    const all = Array.from({ length: 127 }, (_, index) => String.fromCharCode(index + 1));
    const inQuotes = all.filter((char) => quoteWord(char) !== char);
    expect(inQuotes.sort()).toEqual([...quoted, "'"].sort());
  });

  test('an empty word is two single quotes', () => {
    expect(quoteWord('')).toBe("''");
  });

  test.each([
    ["'", String.raw`''\'''`],
    ["it's", String.raw`'it'\''s'`],
    ["''", String.raw`''\'''\'''`],
  ])('a single quote closes, escapes and opens again: %s', (word, text) => {
    expect(quoteWord(word)).toBe(text);
  });

  test('bytes that are UTF-8 print as their text, wherever the argument came from', () => {
    expect(String(new Command('x', Buffer.from('é b')))).toBe("x 'é b'");
  });

  test('bytes that are not UTF-8 print as octal escapes between the text around them', () => {
    const word = { base64: Buffer.from([0x61, 0x20, 0xff, 0xfe, 0x62]).toString('base64') };
    expect(quoteWord(word)).toBe(String.raw`'a '"$(printf '\377\376')"b`);
  });
});

describe('printCommand', () => {
  const short = new Command('true').env('A', 'B').env('C', 'D  E').arg('F').arg('G  H');
  const long = new Command('true')
    .env('A', 'B')
    .env('C', 'D  E')
    .args('--foo', 'bar', '--oooh', '-f', '--wizz', 'eek eek', '--m-m-m-multiarg', 'arg', 'arg2')
    .args('-w', '-z', '-l', '--mmm', 'flash', 'bang', 'wallop');

  test('prints variables first, each followed by a space, with the name bare and only the value quoted', () => {
    expect(String(short)).toBe("A=B C='D  E' true F 'G  H'");
  });

  test('breaks the long example as libvirt does', () => {
    expect(long.toString({ lineBreaks: true })).toBe(
      lines(
        'A=B',
        "C='D  E'",
        'true',
        '--foo bar',
        '--oooh',
        '-f',
        "--wizz 'eek eek'",
        '--m-m-m-multiarg arg arg2',
        '-w',
        '-z',
        '-l',
        '--mmm flash',
        'bang',
        'wallop',
      ),
    );
  });

  test('prints the long example on one line without line breaks', () => {
    expect(String(long)).toBe(
      "A=B C='D  E' true --foo bar --oooh -f --wizz 'eek eek' --m-m-m-multiarg arg arg2 -w -z -l --mmm flash bang wallop",
    );
  });

  test.each([
    ['x', lines('x')],
    ['x a b -c d e', lines('x', 'a', 'b', '-c d', 'e')],
    ['x -c d e -', lines('x', '-c d e', '-')],
    ['x -c -5 y', lines('x', '-c', '-5 y')],
    ['x -', lines('x', '-')],
    ['x - a b', lines('x', '- a', 'b')],
    ['x a', lines('x', 'a')],
    ['x -a b c -d', lines('x', '-a b c', '-d')],
    ['x -a b c d -e f g', lines('x', '-a b c d', '-e f', 'g')],
    ['x a -- b', lines('x', 'a', '-- b')],
  ])('breaks the lines of `%s` where libvirt does', (words, text) => {
    expect(print(words)).toBe(text);
  });

  test('an option that is quoted, and one in bytes that are not UTF-8, start a line too', () => {
    const command = new Command('x', 'a', '-b c', Buffer.from([0x2d, 0xff]));
    expect(command.toString({ lineBreaks: true })).toBe(lines('x', 'a', "'-b c'", String.raw`-"$(printf '\377')"`));
  });

  test.each([
    ['/usr/sbin/dnsmasq', 'dnsmasq'],
    ['dnsmasq', 'dnsmasq'],
    ['./a b', "'a b'"],
    ["/opt/it's/run", 'run'],
  ])("prints only the last part of the path '%s' if asked", (program, text) => {
    expect(new Command(program, '/etc/x').env('A', '/b').toString({ stripPath: true })).toBe(`A=/b ${text} /etc/x`);
  });

  test('prints only the last part of a path that is no text, too', () => {
    const program = Buffer.from([0x2f, 0x61, 0x2f, 0xff]);
    expect(new Command(program).toString({ stripPath: true })).toBe(String.raw`"$(printf '\377')"`);
  });

  test('shows the name of the program as it was said, and not what PATH gives', () => {
    expect(String(new Command('sh', '-c', 'exit 3'))).toBe("sh -c 'exit 3'");
  });

  test("prints the dry run's example", () => {
    expect(String(new Command('/bin/echo').arg('Hello world'))).toBe("/bin/echo 'Hello world'");
  });

  test.each([
    ['A-B', 'env A-B=1 true'],
    ['a b', "env 'a b'=1 true"],
    ['1A', 'env 1A=1 true'],
    ['é', 'env é=1 true'],
  ])("starts with env where no shell can assign the variable's name '%s'", (name, text) => {
    expect(String(new Command('true').env(name, 1))).toBe(text);
  });

  test('gives env a line of its own', () => {
    expect(new Command('true').env('A-B', 1).env('C', 2).toString({ lineBreaks: true })).toBe(
      lines('env', 'A-B=1', 'C=2', 'true'),
    );
  });

  test.each([
    'a=b',
    '_x=',
    'A1=\n',
    'if',
    'then',
    'elif',
    'else',
    'fi',
    'for',
    'while',
    'until',
    'do',
    'done',
    'case',
    'esac',
    'in',
    'function',
    'select',
    'time',
    'coproc',
  ])("quotes a program named '%s', which a shell would read as something else", (program) => {
    expect(String(new Command(program))).toBe(`'${program}'`);
  });

  test.each(['a-b=c', '1=2', '/bin/a=b', 'iff', 'If'])("leaves a program named '%s' bare", (program) => {
    expect(String(new Command(program))).toBe(program);
  });

  test('quotes none of these words where they are arguments', () => {
    expect(String(new Command('x', 'a=b', 'if', 'done'))).toBe('x a=b if done');
  });
});

describe('writeArgLog', () => {
  const log = (command: Command): Buffer => {
    const path = join(temporaryDirectory(), 'log');
    const fd = openSync(path, 'w');
    try {
      command.writeArgLog(fd);
    } finally {
      closeSync(fd);
    }
    return readFileSync(path);
  };

  test('writes variables and arguments unquoted, with a space between them and a newline at the end', () => {
    expect(String(log(new Command('true').env('A', 'B').env('C', 'D  E').args('F', 'G  H')))).toBe(
      'A=B C=D  E true F G  H\n',
    );
  });

  test('writes the long example', () => {
    const command = new Command(
      'true',
      '--foo',
      'bar',
      '--oooh',
      '-f',
      '--wizz',
      'eek eek',
      '--m-m-m-multiarg',
      'arg',
      'arg2',
    );
    command.args('-w', '-z', '-l', '--mmm', 'flash', 'bang', 'wallop').env('A', 'B').env('C', 'D  E');
    expect(String(log(command))).toBe(
      'A=B C=D  E true --foo bar --oooh -f --wizz eek eek --m-m-m-multiarg arg arg2 -w -z -l --mmm flash bang wallop\n',
    );
  });

  test('writes bytes as they are', () => {
    const command = new Command('x', Buffer.from([0xff, 0x80])).env('A', Buffer.from([0xfe]));
    expect(log(command)).toEqual(Buffer.from([0x41, 0x3d, 0xfe, 0x20, 0x78, 0x20, 0xff, 0x80, 0x0a]));
  });

  test('writes nothing in the place of a secret', () => {
    expect(String(log(new Command('x').secretArg('hunter2').arg('y')))).toBe('x *** y\n');
  });

  test('ends a lone program with a newline', () => {
    expect(String(argLog({ env: [], argv: ['x'] }))).toBe('x\n');
  });
});
