import { describe, expect, test } from 'vitest';
import { encode, encodedSize, encodeForNow, type Program } from '../../src/wire/encode.js';

const program = (file: string, word: string): Program => ({
  file,
  argv: [word, Uint8Array.of(0xff, 1), { base64: Buffer.from([0xfe, 2]).toString('base64') }],
  envp: [Buffer.from(`A=${word}`)],
  operations: [
    { code: 'chdir', step: 0, text: `/${word}` },
    { code: 'setgroups', step: 1, text: [1, 0xffff_fffe] },
    { code: 'execve', step: 2 },
  ],
});

const small = program('/bin/a', 'é');
const large = program('/bin/b', 'x'.repeat(300_000));

describe('encode', () => {
  test('writes the same for the same program, whatever was written before', () => {
    const first = encode(small);
    encode(large);
    expect(encode(small)).toEqual(first);
  });

  test('gives bytes that no later program changes', () => {
    const first = encode(small);
    const before = Buffer.from(first);
    encode(large);
    encode(program('/bin/c', 'other'));
    expect(first).toEqual(before);
  });

  test('holds each word as it is, and its end', () => {
    const text = encode(small).toString('latin1');
    const word = Buffer.from('é').toString('latin1');
    for (const part of ['/bin/a', word, '\xff\x01', '\xfe\x02', `A=${word}`, `/${word}`])
      expect(text).toContain(`${part}\0`);
  });
});

test('encodeForNow() writes what encode() does, at the beginning of a page that is longer', () => {
  const bytes = encode(small);
  const page = encodeForNow(small);
  expect(encodedSize(page)).toBe(bytes.length);
  expect(page.subarray(0, bytes.length)).toEqual(bytes);
  expect(page.length).toBeGreaterThan(bytes.length);
});

test('a program that inherits its variables says so in the place of their number', () => {
  expect(encode({ ...small, envp: 'inherited' }).readUInt32LE(16)).toBe(0xffff_ffff);
  expect(encode({ ...small, envp: [] }).readUInt32LE(16)).toBe(0);
});
