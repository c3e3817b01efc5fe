import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test, type TestContext } from 'vitest';
import { Command } from '../../src/index.js';
import { printf } from '../../src/text/printf.js';
import { Wrong } from '../../src/text/reading.js';

const PRINTF = '/usr/bin/printf';

/** The formats that C defines: not every flag has a meaning for every letter. */
const flagsOf: Readonly<Record<string, string>> = {
  d: '-+ 0',
  i: '-+ 0',
  u: '-0',
  o: '-#0',
  x: '-#0',
  X: '-#0',
  // '#' with g: glibc drops zeros that C keeps.
  e: '-+ #0',
  E: '-+ #0',
  f: '-+ #0',
  F: '-+ #0',
  g: '-+ 0',
  G: '-+ 0',
  s: '-',
  c: '-',
};
const integers = [
  0,
  1,
  7,
  -7,
  8,
  42,
  255,
  123456,
  -123456,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 32,
  2 ** 53 - 1,
  -(2 ** 53) + 1,
];
// Below 10^21, no minus zero, and nothing that lies half-way between two results: there printj rounds up, and C to the even digit.
const doubles = [
  0,
  1,
  -1,
  1.25,
  10,
  3.14159,
  123456789.125,
  1e20,
  1e-7,
  123456,
  1234567,
  0.0001,
  0.00001234,
  0.1,
  1 / 3,
];
const isUnsigned = (letter: string): boolean => 'ouxX'.includes(letter);
const isFloat = (letter: string): boolean => 'eEfFgG'.includes(letter);
const valuesOf = (letter: string): readonly (number | string)[] => {
  if (letter === 'c') return ['a', '%'];
  if (letter === 's') return ['', 'abc', 'hello world', '%d'];
  return isFloat(letter) ? doubles : integers.filter((value) => value >= 0 || !isUnsigned(letter));
};

interface Case {
  readonly format: string;
  readonly value: number | string;
}

/** What C's printf makes of each case. Doubles are handed over to the last digit: coreutils reads more of them than a double holds. */
function inC(cases: readonly Case[]): string[] {
  const exact = (value: number | string): string => {
    if (typeof value === 'string' || Number.isSafeInteger(value)) return Object.is(value, -0) ? '-0' : String(value);
    return value.toPrecision(100);
  };
  const { stdout, stderr } = spawnSync(
    PRINTF,
    [cases.map(({ format }) => `${format}\\n`).join(''), ...cases.map(({ value }) => exact(value))],
    {
      env: { LC_ALL: 'C' },
      maxBuffer: 2 ** 30,
    },
  );
  if (stderr.length > 0) throw new Error(String(stderr));
  return stdout.toString().split('\n').slice(0, -1);
}

const described = ({ format, value }: Case, text: unknown): string =>
  `${format} of ${Object.is(value, -0) ? '-0' : value}: '${String(text)}'`;

function ours({ format, value }: Case): string {
  const made = printf(format, [value]);
  return typeof made === 'string' ? made : `mistake: ${made.wrong}`;
}

/** The first cases in which we and C are of different minds, as each has them. */
function differences(cases: readonly Case[]): { ours: string[]; c: string[] } {
  const wanted = inC(cases);
  const wrong = cases
    .map((one, index) => ({ ours: described(one, ours(one)), c: described(one, wanted[index]) }))
    .filter((pair) => pair.ours !== pair.c);
  const first = wrong.slice(0, 20);
  return { ours: first.map((pair) => pair.ours), c: first.map((pair) => pair.c) };
}

function needsPrintf(context: TestContext): void {
  const stdout = spawnSync('sh', ['-c', `${PRINTF} --version`], { encoding: 'utf8' }).stdout;
  if (!stdout.includes('GNU coreutils')) context.skip(`${PRINTF} of GNU coreutils is not here to compare with`);
}

const subsets = (flags: string): string[] =>
  flags === '' ? [''] : subsets(flags.slice(1)).flatMap((rest) => [rest, `${flags.charAt(0)}${rest}`]);

// ---------------------------------------------------------------- tests

describe("printf does what C's does", () => {
  test.for(Object.keys(flagsOf))('with the letter %s, under all flags, widths and precisions', (letter, context) => {
    needsPrintf(context);
    const precisions = letter === 'c' ? [''] : ['', '.', '.0', '.3', '.12'];
    const cases = subsets(flagsOf[letter] ?? '').flatMap((flags) =>
      ['', '1', '9', '20'].flatMap((width) =>
        precisions.flatMap((precision) =>
          valuesOf(letter).map((value) => ({ format: `%${flags}${width}${precision}${letter}`, value })),
        ),
      ),
    );
    for (let at = 0; at < cases.length; at += 1000) {
      const { ours: made, c } = differences(cases.slice(at, at + 1000));
      expect(made).toEqual(c);
    }
  });

  test('with random flags, widths, precisions and values', (context) => {
    needsPrintf(context);
    // Random doubles lie half-way too often; the table above has those letters.
    const one = fc.constantFrom(...Object.keys(flagsOf).filter((letter) => !isFloat(letter))).chain((letter) =>
      fc.record({
        format: fc
          .record({
            flags: fc.subarray(Array.from(flagsOf[letter] ?? '')),
            width: fc.option(fc.integer({ min: 1, max: 30 })),
            precision: letter === 'c' ? fc.constant(null) : fc.option(fc.nat({ max: 30 })),
          })
          .map(
            ({ flags, width, precision }) =>
              `%${flags.join('')}${width ?? ''}${precision === null ? '' : `.${precision}`}${letter}`,
          ),
        value:
          letter === 's'
            ? fc.string({ unit: 'grapheme-ascii', maxLength: 12 })
            : letter === 'c'
              ? fc.stringMatching(/^[ -~]$/)
              : fc.integer({ min: isUnsigned(letter) ? 0 : Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
      }),
    );
    const batch = fc.array(one, { minLength: 100, maxLength: 100 });
    fc.assert(
      fc.property(batch, (cases) => {
        const { ours: made, c } = differences(cases);
        expect(made).toEqual(c);
      }),
      { numRuns: 20, endOnFailure: true },
    );
  });
});

describe('printf', () => {
  const text = (format: string, ...values: unknown[]) => printf(format, values);

  test.each([
    ['', [], ''],
    ['plain', [], 'plain'],
    ['100%%', [], '100%'],
    ['%%d%%', [], '%d%'],
    ['id=%d,name=%s', [7, 'x'], 'id=7,name=x'],
    ['%s%s%s', ['a', 'b', 'c'], 'abc'],
    ['é€😀 %s', ['é€😀'], 'é€😀 é€😀'],
    ['%s', ['%d'], '%d'],
    ['%s %s', [1, -0.5], '1 -0.5'],
    ['%03d', [7], '007'],
    ['0x%08x', [48879], '0x0000beef'],
  ])('makes of %j with %j the text %j', (format, values, made) => {
    expect(text(format, ...values)).toBe(made);
  });

  test.each(['hh', 'h', 'l', 'll', 'j', 'z', 't', 'q'])(
    'reads the length modifier %s, which means nothing here',
    (modifier) => {
      expect(text(`%${modifier}d|%${modifier}u|%5${modifier}x|`, -1, 2, 255)).toBe('-1|2|   ff|');
    },
  );

  test('reads the length modifier L before a floating-point letter', () => {
    expect(text('%.1Lf', 1.5)).toBe('1.5');
  });

  test.each([
    ['%*d', [5, 42], '   42'],
    ['%-*d|', [5, 42], '42   |'],
    ['%*d|', [-5, 42], '42   |'],
    ['%.*f', [2, 3.14159], '3.14'],
    ['%*.*f', [8, 3, 3.14159], '   3.142'],
    ['%.*s', [2, 'abc'], 'ab'],
    ['%s %*d %s', ['a', 3, 1, 'b'], 'a   1 b'],
  ])("takes a '*' of %j from its values %j", (format, values, made) => {
    expect(text(format, ...values)).toBe(made);
  });

  test.each([0n, 1n, -1n, 2n ** 53n - 1n, -(2n ** 53n) + 1n])('prints the bigint %s exactly', (value) => {
    expect(text('%d', value)).toBe(String(value));
    expect(text('%s', value)).toBe(String(value));
    if (value >= 0n) expect(text('%x', value)).toBe(value.toString(16));
  });

  test.each([2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 64n - 1n, -(2n ** 63n)])(
    'prints the bigint %s exactly, or not at all',
    (value) => {
      const made = text('%d', value);
      if (typeof made === 'string') expect(made).toBe(String(value));
      else expect(made.wrong).toBe("'%d' is exact up to 2^53; write %s and String(value) for a larger one");
    },
  );

  test.each([
    ['%d', [], 'the format takes 1 value, and 0 came with it'],
    ['%d %d', [1], 'the format takes 2 values, and 1 came with it'],
    ['%d', [1, 2], 'the format takes 1 value, and 2 came with it'],
    ['plain', [1], 'the format takes 0 values, and 1 came with it'],
    ['%*d', [1], 'the format takes 2 values, and 1 came with it'],
    ['%d', ['7'], "'%d' takes a number"],
    ['%d', [null], "'%d' takes a number"],
    ['%d', [undefined], "'%d' takes a number"],
    ['%d', [true], "'%d' takes a number"],
    ['%d', [1.5], "'%d' takes a whole number"],
    ['%d', [2 ** 53], "'%d' is exact up to 2^53; write %s and String(value) for a larger one"],
    ['%f', [NaN], "'%f' takes a number"],
    ['%f', [Infinity], "'%f' takes a number"],
    ['%f', ['1'], "'%f' takes a number"],
    ['%s', [{}], "'%s' takes a string or a number"],
    ['%s', [undefined], "'%s' takes a string or a number"],
    ['%c', ['ab'], "'%c' takes one character"],
    ['%c', [''], "'%c' takes one character"],
    ['%*d', ['x', 1], "'%*d' takes a width from its values, and that must be a whole number"],
    ['%.*f', [0.5, 1], "'%.*f' takes a width from its values, and that must be a whole number"],
    ['%1$d', [1], "'%1$d' names its value by position; write the values in the order of the format"],
  ])('refuses %j with %j', (format, values, wrong) => {
    expect(text(format, ...values)).toEqual({ wrong });
  });

  test.each(['%n', '%p', '%a', '%ls%n', '%y', '%', '50% ', '%l', '%-'])(
    'refuses %j, which holds no conversion of ours',
    (format) => {
      expect(text(format, 'x', 'x')).toEqual({
        wrong: expect.stringMatching(/^'%.*' is no conversion; there are %d, %i, %o, .*%s and %%$/s),
      });
    },
  );

  test.each(['%u', '%x', '%X', '%o'])(
    'refuses a negative number for %s, which C would print as a huge one',
    (format) => {
      for (const value of [-1, -1n, Number.MIN_SAFE_INTEGER]) expect(text(format, value)).toHaveProperty('wrong');
    },
  );

  test.each(['%99999d', '%.99999d', '%.99999f', '%.101f', '%.101e', '%.101g', '%.0g', '%*d'])(
    'never throws, whatever the width in %j',
    (format) => {
      const values = format === '%*d' ? [99_999, 1] : [1];
      const made = text(format, ...values);
      expect(made instanceof Wrong || typeof made === 'string').toBe(true);
    },
  );
});

describe('argFormat and envFormat', () => {
  test('add an argument and a variable', () => {
    expect(String(new Command('x').argFormat('--port=%d', 80).envFormat('A', '%s-%03d', 'b', 7))).toBe(
      'A=b-007 x --port=80',
    );
  });

  test('add nothing where the format is wrong', () => {
    const command = new Command('x').argFormat('%d', 'seven').envFormat('A', '%d');
    expect(command.argList).toEqual([]);
    expect(() => String(command)).toThrow("argFormat('%d', 'seven'): '%d' takes a number.");
  });
});
