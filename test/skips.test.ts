import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('.', import.meta.url));

/** The calls in a text that leave tests out and say no reason. A condition alone is none: `skip(isMissing)`. */
function silentSkips(text: string): string[] {
  const found: string[] = [];
  const source = ts.createSourceFile('a.ts', text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && leavesOut(node)) found.push(node.getText());
    if (ts.isCallExpression(node) && /^(\w+\.)?skip$/.test(node.expression.getText()) && !saysWhy(node.arguments))
      found.push(node.getText());
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `test.skip`, `describe.runIf` and the like, also behind `.concurrent` or `.each`: they take no reason. */
const leavesOut = ({ name, expression }: ts.PropertyAccessExpression): boolean =>
  /^(skip|skipIf|runIf|todo)$/.test(name.text) && /^(test|it|describe|suite)\b/.test(expression.getText());

function saysWhy(values: ts.NodeArray<ts.Expression>): boolean {
  const why = values.at(-1);
  if (why === undefined) return false;
  return values.length > 1 || !(ts.isPrefixUnaryExpression(why) || ts.isBinaryExpression(why) || isTruth(why));
}

const isTruth = ({ kind }: ts.Expression): boolean =>
  kind === ts.SyntaxKind.TrueKeyword || kind === ts.SyntaxKind.FalseKeyword || kind === ts.SyntaxKind.UndefinedKeyword;

test('every test that is left out says why', () => {
  const silent = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'skips.test.ts')
    .flatMap((name) => silentSkips(readFileSync(join(folder, name), 'utf8')).map((call) => `${name}: ${call}`));
  expect(silent).toEqual([]);
});

test('every way to leave a test out without a reason is found', () => {
  const silent = [
    `test.skip('a', () => {})`,
    `test.skipIf(isSlow)('b', () => {})`,
    `describe.runIf(isNative)('c', () => {})`,
    `it.concurrent.todo('d')`,
  ];
  for (const text of silent) expect(silentSkips(text)).toHaveLength(1);
  for (const text of ['skip();', 'skip(!isRoot);', 'context.skip(a || b);', 'skip(true)', 'ctx.skip()'])
    expect(silentSkips(text)).toEqual([text.replace(';', '')]);
  for (const text of [
    "skip('no strace');",
    "skip(!isRoot, 'it takes root');",
    'skip(why);',
    'rows.skip;',
    'skip(a(b));',
  ])
    expect(silentSkips(text)).toEqual([]);
});
