import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const src = fileURLToPath(new URL('../../src/', import.meta.url));
const program = fileURLToPath(new URL('../programs/polluted.js', import.meta.url));
const dist = fileURLToPath(new URL('../../dist', import.meta.url));

/** Every name that the library reads or writes on an object, as its source has them. */
function namesInSource(): string[] {
  const names = new Set<string>();
  const look = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node)) names.add(node.name.text);
    if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent) && node.dotDotDotToken === undefined)
      names.add((node.propertyName ?? node.name).getText());
    if (ts.isPropertyAssignment(node) || ts.isShorthandPropertyAssignment(node) || ts.isPropertySignature(node))
      names.add(node.name.getText());
    if (ts.isElementAccessExpression(node) && ts.isStringLiteralLike(node.argumentExpression))
      names.add(node.argumentExpression.text);
    ts.forEachChild(node, look);
  };
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (file.endsWith('.ts'))
      look(ts.createSourceFile(file, readFileSync(src + file, 'utf8'), ts.ScriptTarget.ES2022, true));
  }
  return Array.from(names, (name) => name.replaceAll(/['"]/g, ''))
    .filter((name) => /^\w+$/.test(name) && !Object.hasOwn(Object.prototype, name))
    .concat('0', '1', '7', '-1', 'get', 'set', 'enumerable', 'a');
} // prettier-ignore

/**
 * Names that Node and execa read themselves where nobody can hinder them: listeners of streams are kept in plain objects, options
 * that are text become plain objects.
 */
const ofNode = [
  'length', 'resume', 'signal', 'then', 'end', 'data', 'close', 'error', 'readable', 'drain', 'finish', 'exit', 'pause', 'listening', 'aborted',
]; // prettier-ignore
const ofExeca = [
  'encoding', 'get', 'options', 'set', 'pipe', 'file', 'pid', 'ids', 'objectMode', 'ready', 'execPath', 'stream', 'fd', '0', '1', '7', '-1',
]; // prettier-ignore

interface Answers {
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

function answersOf(engine: string, value: string, names: readonly string[]): Answers {
  const { stdout, stderr } = spawnSync(process.execPath, [program], {
    input: JSON.stringify({ names, value, dist }),
    encoding: 'utf8',
    env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_OPTIONS: '' },
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Answers;
}

describe('no command reads what somebody has put into Object.prototype:', () => {
  const names = namesInSource();

  test('the names are those that the library reads', () => {
    expect(names).toEqual(expect.arrayContaining(['preExecHook', 'source', 'uid', 'timeoutMs', 'check', 'encoding']));
    expect(names.length).toBeGreaterThan(500);
  });

  test.for(
    ['native', 'portable'].flatMap((engine) =>
      // child_process, behind execa, also looks for options in the prototype that are objects or functions.
      ['text', 'number', 'true', ...(engine === 'native' ? ['object', 'function'] : [])].map((value) => ({
        engine,
        value,
      })),
    ),
  )('$engine engine, each name with the value "$value"', { timeout: 120_000 }, ({ engine, value }) => {
    const left = new Set(engine === 'native' ? ofNode : [...ofNode, ...ofExeca]);
    const { before, after } = answersOf(
      engine,
      value,
      names.filter((name) => !left.has(name)),
    );
    expect(Object.keys(before).length).toBeGreaterThan(25);
    // What is told before is right: a program ran, and its output came.
    expect(before['input']).toMatchObject({ exitCode: 0, stdout: 'hello' });
    expect(after).toEqual(before);
  });

  test('each of the names by which a stranger had code run, one by one', { timeout: 120_000 }, () => {
    for (const name of ['preExecHook', 'env', 'uid', 'get', 'value'])
      expect(answersOf('native', 'object', [name]), name).toSatisfy(({ before, after }: Answers) => {
        expect(after).toEqual(before);
        return true;
      });
  });
});
