import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeEach, describe, expect, test } from 'vitest';

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
 * What is left out, since it is not the library that reads it. Of each of these a control program, which uses nothing of the library,
 * proves that it breaks Node itself, execa, signal-exit or the language. `+x`: it does so together with x, which is not left out.
 */
const ofNode = ['_readableState', 'aborted', 'finish', 'pause', 'reading', 'ready', 'resume', 'signal', 'then'];
/** The sockets that `child_process` makes, which nobody can hand options to. */
const ofChildProcess = ['abort+length', 'captureRejections', 'destroy', 'fd', 'highWaterMark', 'keepAliveInitialDelay', 'objectMode', 'read', 'readableHighWaterMark', 'readableObjectMode', 'writableHighWaterMark', 'writableObjectMode', 'write']; // prettier-ignore
const ofExeca = [
  'allowHalfOpen',
  'encoding',
  'execPath',
  'file',
  'get',
  'handle',
  'options',
  'set',
  'stream',
  '7',
  '@@iterator',
];
/** What breaks the import of any module, of Node's own ones, or of signal-exit. */
const ofImport = [
  '0',
  'encoding',
  'get',
  'handle',
  'href+protocol',
  'objectMode',
  'path',
  'set',
  'source',
  'value',
  'writable',
];
const symbols = ['iterator', 'asyncIterator', 'isConcatSpreadable', 'species', 'match', 'matchAll', 'search', 'unscopables', 'dispose', 'asyncDispose', 'hasInstance', 'for:nodejs.util.promisify.custom'].map((name) => `@@${name}`); // prettier-ignore
const ofLanguage = [
  'return',
  '@@toPrimitive',
  '@@replace',
  '@@split',
  '@@toStringTag',
  '@@for:nodejs.util.inspect.custom',
];

const values = ['text', 'number', 'true', 'object', 'array', 'function'];
const nameOf = (entry: string): string => entry.replace(/\+.*/, '');

interface Answers {
  /** Not told where the names were there before the import. */
  readonly before?: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

function answersOf(engine: string, value: string, names: readonly string[], early = false): Answers {
  const { stdout, stderr } = spawnSync(process.execPath, [program], {
    input: JSON.stringify({ names, value, dist, early }),
    encoding: 'utf8',
    env: { ...process.env, VIRCOMMAND_ENGINE: engine, NODE_OPTIONS: '' },
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Answers;
}

/** The elements of arrays that are read by an index which may lie beyond the end. Typed arrays have no such way up. */
function indicesThatInherit(): string[] {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const { config } = ts.readConfigFile(`${root}tsconfig.build.json`, (path) => ts.sys.readFile(path)) as {
    config: unknown;
  };
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const checked = ts.createProgram(fileNames, options);
  const checker = checked.getTypeChecker();
  const found: string[] = [];
  for (const source of checked.getSourceFiles()) {
    if (source.isDeclarationFile) continue;
    const look = (node: ts.Node): void => {
      ts.forEachChild(node, look);
      if (!ts.isElementAccessExpression(node)) return;
      const { parent } = node;
      const isSure = ts.isNonNullExpression(parent);
      const isWritten =
        ts.isBinaryExpression(parent) &&
        parent.left === node &&
        parent.operatorToken.kind === ts.SyntaxKind.EqualsToken;
      if (
        isSure ||
        isWritten ||
        !checker.isArrayType(checker.getNonNullableType(checker.getTypeAtLocation(node.expression)))
      )
        return;
      found.push(`${source.fileName.slice(root.length)}: ${node.getText()}`);
    };
    look(source);
  }
  return found;
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

  beforeEach(({ skip }) => {
    const isListed = process.versions.node.startsWith('20.');
    skip(!isListed, 'the names that break Node itself are listed for Node 20, and others break a later one');
  });

  test('the names are those that the library reads', () => {
    expect(names).toEqual(expect.arrayContaining(['preExecHook', 'source', 'uid', 'timeoutMs', 'check', 'encoding']));
    expect(names.length).toBeGreaterThan(500);
  });

  test('no options of a call of Node inherit', () => {
    expect(optionsThatInherit()).toEqual([]);
  });

  const engines = ['native', 'portable'].flatMap((engine) => values.map((value) => ({ engine, value })));
  const leftOut = (engine: string): Set<string> =>
    new Set([...ofNode, ...ofLanguage, ...(engine === 'native' ? [] : [...ofChildProcess, ...ofExeca])].map(nameOf));

  test.for(engines)('$engine engine, all names with the value "$value"', { timeout: 120_000 }, ({ engine, value }) => {
    const left = leftOut(engine);
    const { before = {}, after } = answersOf(
      engine,
      value,
      names.filter((name) => !left.has(name)),
    );
    expect(Object.keys(before).length).toBeGreaterThan(30);
    // What is told before is right: a program ran, and its output came.
    expect(before['input']).toMatchObject({ exitCode: 0, stdout: 'hello' });
    expect(after).toEqual(before);
  });

  test.for(engines)(
    '$engine engine, where the names had the value "$value" before the import',
    { timeout: 120_000 },
    ({ engine, value }) => {
      // At its first use, process.stderr is a socket that is made with them too.
      const left = new Set([...leftOut(engine), ...[...ofImport, ...ofChildProcess].map(nameOf)]);
      const { after } = answersOf(
        engine,
        value,
        names.filter((name) => !left.has(name)),
        true,
      );
      expect(after['input']).toMatchObject({ exitCode: 0, stdout: 'hello' });
      expect(after).toEqual(answersOf(engine, value, [], true).after);
    },
  );

  test.for(['native', 'portable'])('%s engine, symbols', { timeout: 120_000 }, (engine) => {
    for (const value of values) {
      const left = leftOut(engine);
      const { before, after } = answersOf(
        engine,
        value,
        symbols.filter((name) => !left.has(name)),
      );
      expect(after, value).toEqual(before);
    }
  });

  test('an element of a list is read by .at() or elementAt(), or is sure to be there: an index leads on to Object.prototype', () => {
    expect(indicesThatInherit()).toEqual([]);
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

  test.for([
    ...ofNode.map((name) => ['node', name]),
    ...ofChildProcess.map((name) => ['node', name]),
    ...ofExeca.map((name) => ['execa', name]),
    ...ofImport.map((name) => ['import', name]),
    ...ofLanguage.map((name) => ['language', name]),
  ] as [string, string][])('what is left out breaks %s itself: %s', { timeout: 60_000 }, ([whose, name]) => {
    const control = fileURLToPath(new URL('../programs/polluted-control.js', import.meta.url));
    const breaks = (value: string): boolean => {
      const { stdout, status } = spawnSync(process.execPath, [control, whose, name, value], { encoding: 'utf8' });
      return status !== 0 || stdout.trim().split(' ').at(-1) === 'breaks';
    };
    expect(values.some(breaks)).toBe(true);
  });
});
