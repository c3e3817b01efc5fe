import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stepNames } from '../../src/text/step-names.js';
import { root } from '../helpers/native.js';

const read = (file: string) => readFileSync(`${root}/src/native/child/${file}`, 'utf8');
const listed = Array.from(read('steps.h').matchAll(/^ +STEP\((\w+), "([\w-]+)"\)/gm), ([, name = '', text = '']) => ({
  name,
  text,
}));

test('steps.h and steps.ts hold the same names in the same order', () => {
  expect(listed.map(({ text }) => text)).toEqual(stepNames);
});

test('the names in C are those of the steps, in capitals', () => {
  expect(listed.map(({ name }) => name)).toEqual(stepNames.map((name) => name.toUpperCase().replaceAll('-', '_')));
});

test('steps.h lists nothing that the test does not read', () => {
  expect(read('steps.h').match(/\bSTEP\(/g)).toHaveLength(listed.length);
});

test('the decoder knows every step of a child', () => {
  const firstOfChild = stepNames.indexOf('cgroup');
  const known = new Set(Array.from(read('decode.c').matchAll(/case STEP_(\w+):/g), ([, name]) => name));
  // The hook is taken by a Node process, before this code.
  const missing = listed.slice(firstOfChild).filter(({ name }) => name !== 'HOOK' && !known.has(name));
  expect(missing).toEqual([]);
});
