// The rivals: how each is installed, and how it runs a program. Each is used at its leanest: a stream that the measure does
// not need is ignored. Our own run() has no such switch: it always keeps what the program says, for the error's message.

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
  floor: { title: 'C floor', runtime: 'c' },
};

const LARGE = 2 ** 30;

/**
 * How each runs a program: `run` waits for a good end, `text` gives standard output as a string, `bytes` gives it as bytes
 * where the rival can (two of them know strings only, which are taken as they are).
 */
const adapters = {
  vircommand: async () => {
    const { Command } = await import('vircommand');
    return {
      run: (program, args) => new Command(program, ...args).run(),
      text: async (program, args) => (await new Command(program, ...args).outputBuffer().run()).stdout,
      bytes: async (program, args) =>
        (await new Command(program, ...args).outputBuffer({ encoding: 'buffer' }).run()).stdout,
    };
  },
  child_process: async () => {
    const { spawn } = await import('node:child_process');
    const start = (program, args, stdout) =>
      new Promise((resolve, reject) => {
        const chunks = [];
        const child = spawn(program, args, { stdio: ['ignore', stdout, 'ignore'] });
        child.stdout?.on('data', (chunk) => chunks.push(chunk));
        child.on('error', reject);
        child.on('close', (code) => (code === 0 ? resolve(chunks) : reject(new Error(`exit code ${code}`))));
      });
    return {
      run: (program, args) => start(program, args, 'ignore'),
      text: async (program, args) => Buffer.concat(await start(program, args, 'pipe')).toString(),
      bytes: async (program, args) => Buffer.concat(await start(program, args, 'pipe')),
    };
  },
  execa: async (load) => {
    const { execa } = await load('execa');
    const piped = { stdin: 'ignore', stderr: 'ignore', maxBuffer: LARGE };
    return {
      run: (program, args) => execa(program, args, { stdio: 'ignore' }),
      text: async (program, args) => (await execa(program, args, piped)).stdout,
      bytes: async (program, args) => (await execa(program, args, { ...piped, encoding: 'buffer' })).stdout,
    };
  },
  tinyexec: async (load) => {
    const { x } = await load('tinyexec');
    const output = async (program, args) =>
      (await x(program, args, { throwOnError: true, nodeOptions: { stdio: ['ignore', 'pipe', 'ignore'] } })).stdout;
    return {
      run: (program, args) => x(program, args, { throwOnError: true, nodeOptions: { stdio: 'ignore' } }),
      text: output,
      bytes: output,
    };
  },
  'nano-spawn': async (load) => {
    const { default: spawn } = await load('nano-spawn');
    const output = async (program, args) => (await spawn(program, args, { stdin: 'ignore', stderr: 'ignore' })).stdout;
    return {
      run: (program, args) => spawn(program, args, { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' }),
      text: output,
      bytes: output,
    };
  },
  bun: async () => {
    const start = (program, args, stdout) =>
      Bun.spawn([program, ...args], { stdin: 'ignore', stdout, stderr: 'ignore' });
    const good = async (child) => {
      if ((await child.exited) !== 0) throw new Error(`exit code ${child.exitCode}`);
    };
    const output = async (program, args, kind) => {
      const child = start(program, args, 'pipe');
      const read = await child.stdout[kind]();
      await good(child);
      return read;
    };
    return {
      run: (program, args) => good(start(program, args, 'ignore')),
      text: (program, args) => output(program, args, 'text'),
      bytes: (program, args) => output(program, args, 'bytes'),
    };
  },
  deno: async () => {
    const output = async (program, args, stdout) => {
      const result = await new Deno.Command(program, { args, stdin: 'null', stdout, stderr: 'null' }).output();
      if (!result.success) throw new Error(`exit code ${result.code}`);
      return result;
    };
    const decoder = new TextDecoder();
    return {
      run: (program, args) => output(program, args, 'null'),
      text: async (program, args) => decoder.decode((await output(program, args, 'piped')).stdout),
      bytes: async (program, args) => (await output(program, args, 'piped')).stdout,
    };
  },
};
adapters.portable = adapters.vircommand;

/** The functions of a rival; `load` imports a package from the bench's cache. */
export function adapter(rival, load) {
  return adapters[rival](load);
}
