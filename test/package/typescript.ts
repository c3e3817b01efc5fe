import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import ts from 'typescript';
import type { CodeBlock } from './markdown.js';

/** A piece of documentation that claims to be a program. */
export interface Example extends CodeBlock {
  /** The document it stands in, relative to the repository. */
  readonly origin: string;
  /** Code put in front of it, on one line. */
  readonly prelude?: string;
  /** Code put behind it. */
  readonly postlude?: string;
}

/** Compiles the repository's documentation with the repository's own compiler options. */
export class Compiler {
  readonly #root: string;
  readonly #options: ts.CompilerOptions;

  constructor(root: string) {
    this.#root = root;
    const file = join(root, 'tsconfig.json');
    const { config } = ts.readConfigFile(file, (path) => readFileSync(path, 'utf8')) as { config: unknown };
    const { options } = ts.parseJsonConfigFileContent(
      config,
      { ...ts.sys, readDirectory: () => [] },
      root,
      undefined,
      file,
    );
    this.#options = {
      ...options,
      noEmit: false,
      noUnusedLocals: false,
      noUnusedParameters: false,
      inlineSourceMap: true,
    };
  }

  program(files: string[]): ts.Program {
    return ts.createProgram(files, this.#options);
  }

  /**
   * Writes each example as a file into `directory`, and compiles all of them as one program.
   *
   * Code stands on the same line in its file as in its document, so that what the compiler and
   * a stack trace say about a line is true for the document.
   */
  compile(examples: readonly Example[], directory: string): { problems: string[]; scripts: Map<Example, string> } {
    mkdirSync(directory, { recursive: true });
    const files = new Map(
      examples.map((example) => {
        const file = join(directory, `${example.origin.replaceAll(/[/\\]/g, '+')}.${example.line}.ts`);
        const { prelude = '', postlude = '' } = example;
        writeFileSync(file, `${prelude}${'\n'.repeat(example.line - 1)}${example.code}\n${postlude}`);
        return [file, example];
      }),
    );
    const program = this.program([...files.keys()]);
    const problems = program.getOptionsDiagnostics().map((problem) => text(problem));
    const scripts = new Map<Example, string>();
    for (const [file, example] of files) {
      const source = program.getSourceFile(file)!;
      for (const problem of [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]) {
        const line = source.getLineAndCharacterOfPosition(problem.start ?? 0).line + 1;
        problems.push(`${example.origin}:${line} ${text(problem)}`);
      }
      program.emit(source, (_, script) => {
        const path = join(directory, basename(file).replace(/\.ts$/, '.js'));
        writeFileSync(path, script);
        scripts.set(example, path);
      });
    }
    return { problems, scripts };
  }

  /** An import of everything that the entry files export, by its public name. */
  importEverything(entries: ReadonlyMap<string, string>): string {
    const checked = this.program([...entries.values()]);
    const taken = new Set<string>();
    return [...entries]
      .map(([specifier, file]) => {
        const names = exportsOf(checked, file)
          .filter(({ name }) => name !== 'default' && !taken.has(name))
          .map(({ name, symbol }) => {
            taken.add(name);
            return symbol.flags & ts.SymbolFlags.Value ? name : `type ${name}`;
          });
        return `import { ${names.join(', ')} } from '${specifier}';`;
      })
      .join(' ');
  }

  /** Says which public methods of the exported classes of a name have no such tag. */
  untagged(entries: readonly string[], tag: string, isMeant: (className: string) => boolean = () => true): string[] {
    const checked = this.program([...entries]);
    const classes = entries
      .flatMap((entry) => exportsOf(checked, entry))
      .filter(({ name }) => isMeant(name))
      .flatMap(({ symbol }) => (symbol.declarations ?? []).filter(ts.isClassDeclaration));
    return classes.flatMap((declaration) =>
      Array.from(methodsOf(declaration))
        .filter(([, methods]) => !tagsOf(methods).includes(tag))
        .map(([method]) => `${declaration.name?.text ?? ''}.${method}() has no @${tag}.`),
    );
  }

  /** Says which exports of the entry files, and which public members of exported classes, have no doc comment. */
  undocumented(entries: readonly string[]): string[] {
    const checked = this.program([...entries]);
    const missing = new Set<string>();
    const report = (node: ts.Node, name: string) => {
      const source = node.getSourceFile();
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      missing.add(`${relative(this.#root, source.fileName)}:${line} '${name}' has no doc comment.`);
    };
    for (const entry of entries) {
      for (const { name, symbol } of exportsOf(checked, entry)) {
        const declarations = (symbol.declarations ?? []).filter(
          (node) => node.getSourceFile().fileName.startsWith(dirname(entry)) && !ts.isSourceFile(node),
        );
        const [first] = declarations;
        if (first !== undefined && !declarations.some(isDocumented)) report(first, name);
        for (const declaration of declarations.filter(ts.isClassDeclaration)) {
          for (const member of undocumentedMembers(declaration)) report(member, `${name}.${member.name!.getText()}`);
        }
      }
    }
    return [...missing];
  }
}

/** The names of the tags in the comments of a method, of all its overloads. */
const tagsOf = (methods: readonly ts.Node[]): string[] =>
  methods.flatMap((method) => ts.getJSDocTags(method).map((tag) => tag.tagName.text));

/** The public methods of a class by their names, each with its overloads. Those of `String()` and of `await using` are called by nobody. */
function methodsOf(declaration: ts.ClassDeclaration): Map<string, ts.ClassElement[]> {
  const methods = new Map<string, ts.ClassElement[]>();
  for (const member of declaration.members) {
    if (!ts.isMethodDeclaration(member) || !ts.isIdentifier(member.name)) continue;
    const name = member.name.text;
    if (name !== 'toString' && !tagsOf([member]).includes('internal'))
      methods.set(name, [...(methods.get(name) ?? []), member]);
  }
  return methods;
}

function exportsOf(program: ts.Program, file: string): { name: string; symbol: ts.Symbol }[] {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file)!);
  return (module ? checker.getExportsOfModule(module) : []).map((symbol) => ({
    name: symbol.name,
    symbol: symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol,
  }));
}

/** The first declaration of each public member without a comment. One comment serves all overloads, and a getter with its setter. */
function undocumentedMembers(declaration: ts.ClassDeclaration): ts.ClassElement[] {
  const isPublic = (member: ts.ClassElement) =>
    member.name !== undefined &&
    !ts.isPrivateIdentifier(member.name) &&
    // An override keeps the comment of what it overrides.
    !(
      ts.getCombinedModifierFlags(member) &
      (ts.ModifierFlags.NonPublicAccessibilityModifier | ts.ModifierFlags.Override)
    ) &&
    !ts.getJSDocTags(member).some((tag) => tag.tagName.text === 'internal');
  const documented = new Set<string>();
  const missing = new Map<string, ts.ClassElement>();
  for (const member of declaration.members.filter(isPublic)) {
    const name = member.name!.getText();
    if (isDocumented(member)) documented.add(name);
    else if (!missing.has(name)) missing.set(name, member);
  }
  return [...missing].filter(([name]) => !documented.has(name)).map(([, member]) => member);
}

function isDocumented(node: ts.Node): boolean {
  return ts.getJSDocCommentsAndTags(node).some((doc) => ts.isJSDoc(doc) && doc.comment !== undefined);
}

function text(problem: ts.Diagnostic): string {
  return ts.flattenDiagnosticMessageText(problem.messageText, ' ');
}
