import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { places, watchEvents } from '../../src/native/binding.js';
import { loadNative } from '../../src/native/load.js';
import { root } from '../helpers/native.js';

const read = (file: string): string => readFileSync(`${root}/src/native/${file}`, 'utf8').replace(/\/\*.*?\*\//gs, '');

/** The enums of C whose names begin so, without that beginning and in the way of JavaScript; the last one is their number. */
function enumOf(file: string, prefix: string): string[] {
  const body = Array.from(read(file).matchAll(/enum(?: \w+)? \{([^}]*)\}/g), ([, names = '']) => names).find((names) =>
    names.trimStart().startsWith(`${prefix}_`),
  );
  const names = (body ?? '').split(',').map((name) => name.trim());
  return names
    .filter((name) => name !== '')
    .slice(0, -1)
    .map((name) =>
      name
        .slice(prefix.length + 1)
        .toLowerCase()
        .replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    );
}

test.each<[string, Readonly<Record<string, number>>, string, string]>([
  ['launch', places.launch, 'addon/addon.h', 'LAUNCH'],
  ['exec', places.exec, 'addon/addon.h', 'EXEC'],
  ['watch', places.watch, 'addon/addon.h', 'WATCH'],
  ['events', watchEvents, 'addon/addon.h', 'EVENT'],
  ['report', places.report, 'addon/addon.h', 'REPORT'],
  ['output', places.output, 'addon/addon.h', 'OUTPUT'],
  ['end', places.end, 'addon/addon.h', 'END'],
  ['reap', places.reap, 'addon/addon.h', 'REAP'],
  ['row', places.row, 'host/processes.h', 'ROW'],
])('the places of %s are the same in C and in TypeScript', (_, inTypeScript, file, prefix) => {
  const names = enumOf(file, prefix);
  expect(names).not.toEqual([]);
  expect(Object.entries(inTypeScript)).toEqual(names.map((name, place) => [name, place]));
});

test('every kind of places is compared', () => {
  expect(Object.keys(places).sort()).toEqual(['end', 'exec', 'launch', 'output', 'reap', 'report', 'row', 'watch']);
});

test('binding.ts describes every function of the addon, and no other', ({ skip }) => {
  const described = Array.from(
    readFileSync(`${root}/src/native/binding.ts`, 'utf8').matchAll(/^ {2}(\w+)\($/gm),
    ([, name]) => name,
  ).concat(
    Array.from(
      readFileSync(`${root}/src/native/binding.ts`, 'utf8').matchAll(/^ {2}(\w+)\(.*\): .*;$/gm),
      ([, name]) => name,
    ),
  );
  const listed = Array.from(read('addon/addon.h').matchAll(/FUNCTION\("(\w+)"/g), ([, name]) => name);
  expect(listed.length).toBeGreaterThan(20);
  expect(described.sort()).toEqual(listed.sort());
  const native = loadNative();
  if (typeof native === 'string') return skip(native);
  expect(Object.keys(native.binding).sort()).toEqual(listed);
});
