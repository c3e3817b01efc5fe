import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';

export interface CodeBlock {
  /** The line of the document on which the code begins, counted from 1. */
  readonly line: number;
  /** What follows the opening fence: `ts`, `ts run`, `sh` … */
  readonly info: string;
  readonly code: string;
}

/** Splits a document into its fenced code blocks and its other lines; fenced lines are empty in `prose`. */
export function parseMarkdown(text: string): { blocks: CodeBlock[]; prose: string[] } {
  const blocks: CodeBlock[] = [];
  const prose: string[] = [];
  let open: { fence: string; line: number; info: string; code: string[] } | undefined;
  const close = () => {
    if (open) blocks.push({ line: open.line, info: open.info, code: open.code.join('\n') });
    open = undefined;
  };
  for (const [index, line] of text.split('\n').entries()) {
    const [, fence, info = ''] = /^\s*(`{3,}|~{3,})\s*([^`]*?)\s*$/.exec(line) ?? [];
    prose.push(open !== undefined || fence !== undefined ? '' : line);
    if (open === undefined) {
      if (fence !== undefined) open = { fence, line: index + 2, info, code: [] };
    } else if (fence?.startsWith(open.fence) && info === '') {
      close();
    } else {
      open.code.push(line);
    }
  }
  close();
  return { blocks, prose };
}

/** The code of every `@example` in the doc comments of a source file, with or without a fence around it. */
export function tsdocExamples(source: string): CodeBlock[] {
  const examples: CodeBlock[] = [];
  for (const comment of source.matchAll(/^[ \t]*\/\*\*(?!\/)[\s\S]*?\*\//gm)) {
    const firstLine = source.slice(0, comment.index).split('\n').length;
    const lines = comment[0]
      .replace(/\*\/$/, '')
      .split('\n')
      .map((line) => line.replace(/^\s*(\/\*\*|\*)? ?/, ''));
    for (const [index, line] of lines.entries()) {
      if (!line.startsWith('@example')) continue;
      const rest = lines.slice(index + 1);
      const end = rest.findIndex((next) => /^@[a-z]/.test(next));
      const text = rest
        .slice(0, end === -1 ? undefined : end)
        .join('\n')
        .trimEnd();
      const start = firstLine + index + 1;
      const fenced = parseMarkdown(text).blocks.filter((block) => isTypeScript(block));
      if (fenced.length > 0) examples.push(...fenced.map((block) => ({ ...block, line: start + block.line - 1 })));
      else if (text !== '') examples.push({ line: start, info: 'ts', code: text });
    }
  }
  return examples;
}

export function isTypeScript(block: CodeBlock): boolean {
  return /^ts( run)?$/.test(block.info);
}

/** The fragments that GitHub gives the headings of a document, and the anchors written in HTML. */
export function fragments(text: string): Set<string> {
  const found = new Set<string>();
  for (const line of parseMarkdown(text).prose) {
    for (const anchor of line.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) found.add(anchor[1]!);
    const heading = /^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const slug = heading
      .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/<[a-z/][^>]*>/gi, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
      .replaceAll(' ', '-');
    let unique = slug;
    for (let count = 1; found.has(unique); count++) unique = `${slug}-${count}`;
    found.add(unique);
  }
  return found;
}

/** Says which relative links of the Markdown file `file` lead nowhere. */
export function brokenLinks(file: string, root: string): string[] {
  const broken: string[] = [];
  const text = readFileSync(file, 'utf8');
  for (const [index, line] of parseMarkdown(text).prose.entries()) {
    const prose = line.replace(/(`+)(?!`).*?\1/g, '');
    for (const [, inline, defined, html] of prose.matchAll(
      /\]\(<?([^()<>\s]+)>?[^()]*\)|^ {0,3}\[[^\]]+\]:\s*(\S+)|(?:href|src)="([^"]+)"/g,
    )) {
      const target = (inline ?? defined ?? html)!;
      if (/^[a-z][a-z0-9+.-]*:/i.test(target)) continue;
      const [path, fragment] = target.split('#', 2) as [string, string?];
      const aim = path === '' ? file : resolve(dirname(file), decodeURIComponent(path));
      const reason = relative(root, aim).startsWith('..')
        ? 'leads out of the repository'
        : !existsSync(aim)
          ? 'leads to no file'
          : fragment === undefined || !aim.endsWith('.md') || fragments(readFileSync(aim, 'utf8')).has(fragment)
            ? undefined
            : 'names a heading that does not exist';
      if (reason !== undefined) broken.push(`${relative(root, file)}:${index + 1} the link '${target}' ${reason}.`);
    }
  }
  return broken;
}
