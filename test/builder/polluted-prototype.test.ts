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

/** Names by which Node's own functions, or execa's, do another thing, where nobody can hinder them: a control program tells. */
const ofNode = ['resume', 'signal', 'then'];
const ofExeca = [
  'allowHalfOpen', 'captureRejections', 'encoding', 'execPath', 'file', 'get', 'highWaterMark', 'keepAliveInitialDelay', 'objectMode', 'options', 'pipe', 'set', 'stream', '7',
]; // prettier-ignore

/**
 * Names of events, which streams and emitters keep in objects that inherit, and numbers, which stand for places of arrays. Each
 * alone changes nothing; all at once they do.
 */
const together = ['aborted', 'close', 'data', 'drain', 'end', 'error', 'exit', 'finish', 'length', 'listening', 'pause', 'readable', 'ready']; // prettier-ignore
const togetherInExeca = ['0', '1', '-1', 'fd', 'pid'];

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

/** The calls of Node's functions that are handed an options object which inherits, or text that becomes one. */
function optionsThatInherit(): string[] {
  const takesOptions = /^node:(?:fs|fs\/promises|net|child_process|worker_threads|timers\/promises)$/;
  const found: string[] = [];
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const source = ts.createSourceFile(file, readFileSync(src + file, 'utf8'), ts.ScriptTarget.ES2022, true);
    const functions = new Set<string>();
    for (const statement of source.statements) {
      if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
      const bindings = statement.importClause?.namedBindings;
      if (bindings !== undefined && ts.isNamedImports(bindings) && takesOptions.test(statement.moduleSpecifier.text))
        for (const { name } of bindings.elements) functions.add(name.text);
    }
    const inherits = (value: ts.Expression): boolean =>
      (ts.isObjectLiteralExpression(value) &&
        // Complete, and so is its copy.
        !value.properties.every((property) => ts.isSpreadAssignment(property))) ||
      (ts.isStringLiteral(value) && (value.text === 'buffer' || Buffer.isEncoding(value.text)));
    const look = (node: ts.Node): void => {
      if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
        const root = /^\w+/.exec(node.expression.getText())?.[0] ?? '';
        if (functions.has(root) && (node.arguments ?? []).some(inherits)) found.push(`${file}: ${node.getText()}`);
      }
      ts.forEachChild(node, look);
    };
    look(source);
  }
  return found;
}

describe('no command reads what somebody has put into Object.prototype:', () => {
  const names = namesInSource();

  test('the names are those that the library reads', () => {
    expect(names).toEqual(expect.arrayContaining(['preExecHook', 'source', 'uid', 'timeoutMs', 'check', 'encoding']));
    expect(names.length).toBeGreaterThan(500);
  });

  test('no options of a call of Node inherit', () => {
    expect(optionsThatInherit()).toEqual([]);
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
    const left = new Set([...ofNode, ...together, ...(engine === 'native' ? [] : [...ofExeca, ...togetherInExeca])]);
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

  test('no variables of a program come from there, which execa would mix in', { timeout: 60_000 }, () => {
    for (const value of ['object', 'function']) {
      const { before, after } = answersOf('portable', value, ['env']);
      expect(after).toEqual(before);
    }
  });

  test.for([...ofNode.map((name) => ['node', name]), ...ofExeca.map((name) => ['execa', name])] as [string, string][])(
    'what is left out is the reading of %s itself: %s',
    { timeout: 60_000 },
    ([whose, name]) => {
      const control = fileURLToPath(new URL('../programs/polluted-control.js', import.meta.url));
      const answers = ['text', 'number', 'true', 'object', 'function'].map((value) => () => {
        const { stdout, status } = spawnSync(process.execPath, [control, whose, name, value], { encoding: 'utf8' });
        return status === 0 ? stdout.trim().split(' ').at(-1) : 'breaks';
      });
      expect(answers.some((answer) => answer() === 'breaks')).toBe(true);
    },
  );
});
