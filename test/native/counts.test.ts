import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { inParent, needsProgram, needsRoot, NOBODY, root, useNativeEngine, type Library } from '../helpers/native.js';
import { useDirectory } from '../helpers/tools.js';

/*
 * What a launch costs, in system calls: numbers that do not depend on the machine or on what else runs on it. A change that raises
 * one has to raise it in docs/internals.md, "What a launch costs".
 */

useNativeEngine();
const path = useDirectory();

/** The calls that are counted. How often a loop waits or reads depends on when the program writes and ends. */
const COUNTED =
  /^(pipe2|socketpair|memfd_create|openat|fstat|readlink|write|rt_sigprocmask|rt_sigaction|clone|clone3|dup3|close_range|close|epoll_ctl|fcntl|waitid|exit_group|setsid|getpid|prctl|set\w+|get\w+id|pread64|execve)$/;

/** How often each call comes. What one C library does by `newfstatat()` another does by `fstat()`. */
function countsOf(lines: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of lines) {
    const call = /^(\w+)\(/.exec(line.replace(/^newfstatat\(\d+, ""/, 'fstat('))?.[1] ?? '';
    if (COUNTED.test(call)) counts[call] = (counts[call] ?? 0) + 1;
  }
  return counts;
}

const throughStrace = (...words: string[]): string[] => ['strace', '-qq', '-e', 'signal=none', ...words];

async function traced<T>(
  skip: (why: string) => never,
  body: (library: Library, argument: number) => Promise<T>,
): Promise<T> {
  needsProgram(skip, 'strace');
  return inParent(body, NOBODY, { through: throughStrace('-ff', '-o', path('trace')) }).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
}

/** Runs each kind of launch twice, and then once more between two marks in the trace. */
async function launchKinds({ Command }: Library, nobody: number): Promise<null> {
  const { existsSync } = process.getBuiltinModule('node:fs');
  const kinds: Record<string, () => Promise<unknown>> = {
    plain: () => new Command('/bin/true').run(),
    captured: () => new Command('/bin/echo', 'x').outputBuffer().errorBuffer().run(),
    daemon: () => new Command('/bin/true').daemonize().run(),
    ...(process.geteuid?.() === 0 ? { ids: () => new Command('/bin/true').uid(nobody).gid(nobody).run() } : {}),
  };
  for (const [name, launch] of Object.entries(kinds)) {
    await launch();
    await launch();
    existsSync(`/mark/begin/${name}`);
    await launch();
    existsSync(`/mark/end/${name}`);
  }
  return null;
}

interface Costs {
  parent: Record<string, number>;
  child: Record<string, number>;
}

/** The calls of the parent between the marks, and those of its child up to the program. */
function costsOf(name: string): Costs {
  const files = readdirSync(path()).filter((file) => file.startsWith('trace.'));
  const traces = new Map(
    files.map((file) => [file.slice('trace.'.length), readFileSync(path(file), 'utf8').split('\n')]),
  );
  const all =
    Array.from(traces.values()).find((lines) => lines.some((line) => line.includes(`/mark/begin/${name}"`))) ?? [];
  const marked = all.slice(
    all.findIndex((line) => line.includes(`/mark/begin/${name}"`)) + 1,
    all.findIndex((line) => line.includes(`/mark/end/${name}"`)),
  );
  // To find the groups of a user, the C library reads what the machine has.
  const parent = marked.slice(marked.findIndex((line) => /^(pipe2\(|rt_sigprocmask\(SIG_SETMASK, ~\[\])/.test(line)));
  const pid = parent.map((line) => /^clone\(.* = (\d+)$/.exec(line)?.[1]).find((found) => found !== undefined) ?? '';
  const child = traces.get(pid) ?? [];
  const program = child.findLastIndex((line) => /^(execve\("\/bin\/|exit_group\()/.test(line));
  const last = child.findIndex((line) => line.startsWith('execve("/bin/'));
  return { parent: countsOf(parent), child: countsOf(child.slice(0, (last < 0 ? program : last) + 1)) };
}

/** The tables of the page: for this process, and for the child, a column for each kind of launch. */
function tablesOfPage(): { parent: string[][]; child: string[][] } {
  const page = readFileSync(new URL('../../docs/internals.md', import.meta.url), 'utf8');
  const section = page.split('\n## What a launch costs\n')[1]?.split('\n## ')[0] ?? '';
  const tables = section.split('\n\n').filter((part) => part.startsWith('|'));
  const [parent = [], child = []] = tables.map((table) =>
    table
      .trim()
      .split('\n')
      .map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', ''))),
  );
  return { parent, child };
}

/** What the page says of a kind of launch. */
function writtenOf(name: string): Costs {
  const { parent, child } = tablesOfPage();
  const column = (rows: string[][]): Record<string, number> => {
    const at = rows[0]?.indexOf(name) ?? -1;
    const counts = rows.slice(2).map((row): [string, number] => [row[1] ?? '', Number(row[at])]);
    return Object.fromEntries(counts.filter(([, count]) => count !== 0));
  };
  return { parent: column(parent), child: column(child) };
}

test.for(['plain', 'captured', 'ids', 'daemon'])(
  'the system calls of a launch, and of its child up to the program, are those of the page of internals: %s',
  async (name, { skip }) => {
    if (name === 'ids') needsRoot(skip);
    await traced(skip, launchKinds);
    expect(costsOf(name)).toEqual(writtenOf(name));
  },
);

test('an import opens these files of the package and of its dependencies', async ({ skip }) => {
  needsProgram(skip, 'strace');
  await traced(skip, () => Promise.resolve(null));
  const checkout = root.replace(/\/$/, '');
  const files = readdirSync(path()).filter((file) => file.startsWith('trace.'));
  const opened = files
    .flatMap((file) => readFileSync(path(file), 'utf8').split('\n'))
    .map((line) => /^openat\(AT_FDCWD, "([^"]+\.(?:js|mjs|cjs|node))", .* = \d+$/.exec(line)?.[1] ?? '')
    .filter((file) => file.startsWith(`${checkout}/`) || file.includes('/node_modules/'))
    .map((file) => file.replace(/^.*\/node_modules\//, '').replace(`${checkout}/`, ''));
  expect(opened.sort()).toEqual(['dist/index.js', 'dist/vircommand.js', 'src/native/build/Release/vircommand.node']);
});
