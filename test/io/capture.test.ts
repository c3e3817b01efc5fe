import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Capture, type CaptureLimit } from '../../src/io/capture.js';
import { connectBuffer, OutputBuffer } from '../../src/io/output-buffer.js';

const capture = (limit: CaptureLimit | undefined, ...chunks: (string | Uint8Array)[]): Capture => {
  const made = new Capture(limit);
  for (const chunk of chunks) made.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return made;
};

const counts = ({ totalBytes, lostBytes }: Capture) => ({ totalBytes, lostBytes });

/** How often a capture calls back that its limit is overrun. */
function overruns(made: Capture): number {
  let calls = 0;
  made.whenOverrun(() => (calls += 1));
  return calls;
}

describe('Capture', () => {
  test('keeps everything without a limit', () => {
    const all = capture(undefined, 'one\n', '', 'two\n');
    expect(all.text('utf8')).toBe('one\ntwo\n');
    expect(counts(all)).toEqual({ totalBytes: 8, lostBytes: 0 });
  });

  test('is empty before the first piece', () => {
    expect(counts(capture(undefined))).toEqual({ totalBytes: 0, lostBytes: 0 });
    expect(capture(undefined).text('utf8')).toBe('');
    expect(capture(undefined).tail()).toBe('');
  });

  test.each([
    [9, 'abcdefgh', 0, false],
    [8, 'abcdefgh', 0, false],
    [7, 'abcdefg', 1, true],
    [1, 'a', 7, true],
    [0, '', 8, true],
  ])('a limit of %i bytes keeps %j of eight', (bytes, kept, lostBytes, overrun) => {
    for (const chunks of [['abcdefgh'], ['abc', 'defg', 'h'], Array.from('abcdefgh')]) {
      const truncated = capture({ bytes, policy: 'truncate' }, ...chunks);
      expect(truncated.text('utf8')).toBe(kept);
      expect(counts(truncated)).toEqual({ totalBytes: 8, lostBytes });

      const killed = capture({ bytes, policy: 'kill' }, ...chunks);
      expect(killed.text('utf8')).toBe(kept);
      expect(counts(killed)).toEqual({ totalBytes: 8, lostBytes });
      expect([overruns(truncated), overruns(killed)]).toEqual([0, overrun ? 1 : 0]);
    }
  });

  test.each([
    [9, 'abcdefgh', 0],
    [8, 'abcdefgh', 0],
    [7, 'abcdfgh', 1],
    [6, 'abcfgh', 2],
    [5, 'abcgh', 3],
    [2, 'ah', 6],
    [1, 'a', 7],
    [0, '', 8],
  ])('headAndTail with %i bytes keeps %j of eight', (bytes, kept, lostBytes) => {
    for (const chunks of [['abcdefgh'], ['abc', 'defg', 'h'], ['abcd', 'efgh'], Array.from('abcdefgh')]) {
      const both = capture({ bytes, policy: 'headAndTail' }, ...chunks);
      expect(both.bytes().toString()).toBe(kept);
      expect(counts(both)).toEqual({ totalBytes: 8, lostBytes });
    }
  });

  test('calls back once when the policy is to kill, at the piece that overruns the limit', () => {
    const made = new Capture({ bytes: 4, policy: 'kill' });
    const totals: number[] = [];
    made.whenOverrun(() => totals.push(made.totalBytes));
    for (const chunk of ['ab', 'cd', 'e', 'f']) made.write(Buffer.from(chunk));
    expect(totals).toEqual([5]);
  });

  test('headAndTail marks the gap in text, and not in bytes', () => {
    const both = capture({ bytes: 4, policy: 'headAndTail' }, 'abcdefgh');
    expect(both.text('utf8')).toBe('ab\n[… 4 bytes left out …]\ngh');
    expect(both.read('buffer')).toEqual(Buffer.from('abgh'));
  });

  test('headAndTail marks nothing where nothing is missing', () => {
    expect(capture({ bytes: 4, policy: 'headAndTail' }, 'abc', 'd').text('utf8')).toBe('abcd');
  });

  test.each([
    ['a', 1],
    ['é', 2],
    ['€', 3],
    ['😀', 4],
  ])("a cut through '%s' leaves the whole character out, at the head and at the tail", (char, length) => {
    const whole = `x${char}`;
    for (let bytes = 1; bytes <= length; bytes += 1) {
      expect(capture({ bytes, policy: 'truncate' }, whole).text('utf8')).toBe('x');
    }
    expect(capture({ bytes: length + 1, policy: 'truncate' }, whole).text('utf8')).toBe(whole);

    for (let tail = 1; tail <= length; tail += 1) {
      const text = capture({ bytes: 2 * tail, policy: 'headAndTail' }, `${'-'.repeat(20)}${char}`).text('utf8');
      expect(text).toBe(
        `${'-'.repeat(tail)}\n[… ${20 + length - 2 * tail} bytes left out …]\n${tail === length ? char : ''}`,
      );
    }
  });

  test('a cut leaves bytes alone that are no UTF-8 anyway', () => {
    expect(capture({ bytes: 3, policy: 'truncate' }, Buffer.from([0x61, 0x62, 0x80, 0x80])).bytes()).toEqual(
      Buffer.from([0x61, 0x62, 0x80]),
    );
    expect(capture({ bytes: 2, policy: 'truncate' }, Buffer.from([0xff, 0x61, 0x62])).text('utf8')).toBe('\ufffda');
  });

  test('decodes a character that comes in two pieces', () => {
    const [first, second] = [Buffer.from('€').subarray(0, 1), Buffer.from('€').subarray(1)];
    expect(capture(undefined, first, second).text('utf8')).toBe('€');
  });

  test.each([
    ['latin1', 'ab'],
    ['hex', '6162'],
    ['base64', 'YWI='],
  ] as const)('cuts exactly in the encoding %s, which has no characters of several bytes', (encoding, text) => {
    expect(capture({ bytes: 2, policy: 'truncate' }, 'abc').read(encoding)).toBe(text);
  });

  test('tail() gives the last 4096 bytes in whole characters', () => {
    expect(capture(undefined, 'short').tail()).toBe('short');
    expect(capture(undefined, 'x'.repeat(5000), 'end').tail()).toBe(`${'x'.repeat(4093)}end`);
    expect(capture(undefined, '€'.repeat(2000), 'xy').tail()).toBe(`${'€'.repeat(1364)}xy`);
    expect(capture({ bytes: 10, policy: 'headAndTail' }, 'a'.repeat(100), 'tail!').tail()).toBe('aaaaatail!');
  });

  test('tail() ends in whole characters too, where a limit cut one in two', () => {
    expect(capture({ bytes: 2, policy: 'truncate' }, 'x€').tail()).toBe('x');
  });
});

// ---------------------------------------------------------------- against a model

const limits = fc.record({
  bytes: fc.nat({ max: 40 }),
  policy: fc.constantFrom('truncate' as const, 'kill' as const, 'headAndTail' as const),
});

/** The bytes that a limit keeps, told in the simplest way. */
function keptBytes(all: Buffer, limit: CaptureLimit | undefined): Buffer {
  if (limit === undefined || all.length <= limit.bytes) return all;
  const tail = limit.policy === 'headAndTail' ? Math.floor(limit.bytes / 2) : 0;
  return Buffer.concat([all.subarray(0, limit.bytes - tail), all.subarray(all.length - tail)]);
}

/** Cuts data into pieces, some of them empty, as a pipe may deliver it. */
const inPieces = (all: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b);
  return places.slice(1).map((place, index) => Buffer.from(all.subarray(places[index], place)));
};

describe('Capture, however the data is cut into pieces,', () => {
  const cuts = fc.array(fc.nat(), { maxLength: 12 });

  test('keeps the bytes that the limit says, and counts all of them', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        cuts,
        fc.option(limits, { nil: undefined }),
        (data, places, limit) => {
          const all = Buffer.from(data);
          const taken = capture(limit, ...inPieces(all, places));
          const kept = keptBytes(all, limit);
          expect(taken.bytes()).toEqual(kept);
          expect(counts(taken)).toEqual({ totalBytes: all.length, lostBytes: all.length - kept.length });
          expect(overruns(taken)).toBe(limit?.policy === 'kill' && all.length > limit.bytes ? 1 : 0);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('gives text that is UTF-8 back in whole characters, as many as fit', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '€', '😀', '\n'), maxLength: 40 });
    fc.assert(
      fc.property(text, cuts, limits, (whole, places, limit) => {
        const all = Buffer.from(whole);
        const taken = capture(limit, ...inPieces(all, places)).text('utf8');
        if (all.length <= limit.bytes) {
          expect(taken).toBe(whole);
          return;
        }
        const tailBytes = limit.policy === 'headAndTail' ? Math.floor(limit.bytes / 2) : 0;
        const head = longest(Array.from(whole), limit.bytes - tailBytes).join('');
        const tail = longest(Array.from(whole).reverse(), tailBytes).reverse().join('');
        expect(taken).toBe(
          tailBytes === 0 ? head : `${head}\n[… ${all.length - limit.bytes} bytes left out …]\n${tail}`,
        );
      }),
      { numRuns: 1000 },
    );
  });

  /** As many of the first characters as fit. */
  function longest(chars: readonly string[], room: number): string[] {
    let length = 0;
    const end = chars.findIndex((char) => (length += Buffer.byteLength(char)) > room);
    return chars.slice(0, end === -1 ? undefined : end);
  }
});

describe('OutputBuffer', () => {
  const filled = (...chunks: string[]): OutputBuffer => {
    const buffer = new OutputBuffer();
    connectBuffer(buffer, capture(undefined, ...chunks));
    return buffer;
  };

  test('is empty until a command writes to it', () => {
    expect(String(new OutputBuffer())).toBe('');
    expect(new OutputBuffer().bytes()).toEqual(Buffer.alloc(0));
  });

  test('gives text, in another encoding if asked, and bytes', () => {
    const buffer = filled('é', '!');
    expect(String(buffer)).toBe('é!');
    expect(buffer.toString('latin1')).toBe('Ã©!');
    expect(buffer.bytes()).toEqual(Buffer.from('é!'));
  });

  test('shows what has come so far while the command goes on', () => {
    const running = new Capture();
    const buffer = new OutputBuffer();
    connectBuffer(buffer, running);
    running.write(Buffer.from('one'));
    expect(String(buffer)).toBe('one');
    running.write(Buffer.from(' two'));
    expect(String(buffer)).toBe('one two');
  });

  test('gives bytes of its own, which can be changed without harm', () => {
    const buffer = filled('abc');
    buffer.bytes().fill(0);
    expect(String(buffer)).toBe('abc');
  });

  test('lets go of an earlier run when a new one begins', () => {
    const buffer = filled('old');
    connectBuffer(buffer, new Capture());
    expect(String(buffer)).toBe('');
  });

  test('prints as one line that tells how much it holds', () => {
    expect(inspect(filled('secret'))).toBe('OutputBuffer { 6 bytes }');
  });
});
