// The rivals: where each comes from, and what its trials run in. How each runs a program: trial/adapters.js.

const { arch } = process;

/** What `npm` installs into the bench's cache, at these versions. */
export const packages = {
  execa: 'execa@9.6.1',
  tinyexec: 'tinyexec@1.3.1',
  'nano-spawn': 'nano-spawn@2.1.0',
  bun: arch === 'arm64' ? '@oven/bun-linux-aarch64@1.4.5' : '@oven/bun-linux-x64@1.4.5',
  deno: arch === 'arm64' ? '@deno/linux-arm64-glibc@2.9.6' : '@deno/linux-x64-glibc@2.9.6',
};

/** The name that the tables show, and the program that a trial runs in. */
export const rivals = {
  floor: { title: 'C floor', runtime: 'c' },
  vircommand: { title: 'vircommand', runtime: 'node', engine: 'native' },
  portable: { title: 'vircommand (portable)', runtime: 'node', engine: 'portable' },
  child_process: { title: 'child_process', runtime: 'node' },
  execa: { title: 'execa', runtime: 'node' },
  tinyexec: { title: 'tinyexec', runtime: 'node' },
  'nano-spawn': { title: 'nano-spawn', runtime: 'node' },
  bun: {
    title: 'Bun.spawn',
    runtime: 'bun',
    binary: arch === 'arm64' ? '@oven/bun-linux-aarch64/bin/bun' : '@oven/bun-linux-x64/bin/bun',
  },
  deno: {
    title: 'Deno.Command',
    runtime: 'deno',
    binary: arch === 'arm64' ? '@deno/linux-arm64-glibc/deno' : '@deno/linux-x64-glibc/deno',
  },
};

/** What stands beside ours in some rows, to tell what a part of it costs. `--rivals` does not choose among them: they come along. */
export const variants = {
  plain: { title: 'vircommand, plain', runtime: 'node', engine: 'native', isPlain: true },
  again: { title: 'vircommand, the same command', runtime: 'node', engine: 'native' },
  prepared: { title: 'vircommand, prepared', runtime: 'node', engine: 'native' },
  sh: { title: 'sh -c, by child_process', runtime: 'node' },
  events: { title: "child_process, 'line' events", runtime: 'node' },
  empty: { title: 'an empty script', runtime: 'node' },
};

export const all = { ...rivals, ...variants };

export const titles = Object.fromEntries(Object.entries(all).map(([name, { title }]) => [name, title]));
