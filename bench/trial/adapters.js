// How each rival runs a program. Each is used at its leanest: a stream that the row does not need is ignored. Our own run() has no
// such switch: it always keeps what the program says, for the error's message.
const LARGE = 2 ** 30;

/**
 * How each runs a program: `run` waits for a good end, `text` gives standard output as a string, `bytes` gives it as bytes
 * where the rival can (two of them know strings only, which are taken as they are). `lines` counts the lines of standard output, each
 * of which it has had as a string; `pipe` gives what the last of three programs says, each of which reads what the one before writes.
 *
 * `load` imports a package from the bench's cache. `steps` are what the row wants done in the child: other ids, a control group.
 */
const adapters = {
  vircommand: async (_, steps) => {
    const { Command, pipeline } = await import('vircommand');
    const command = commandWith(Command, steps);
    return {
      run: (program, args) => command(program, args).run(),
      lines: (program, args) => counted(command(program, args).lines()),
      pipe: async ([first, second, third]) =>
        (await pipeline(new Command(...first), new Command(...second), new Command(...third).outputBuffer()).run())
          .stdout,
      text: async (program, args) => (await command(program, args).outputBuffer().run()).stdout,
      bytes: async (program, args) => (await command(program, args).outputBuffer({ encoding: 'buffer' }).run()).stdout,
    };
  },
  /** One command that is run again and again. */
  again: async (_, steps) => {
    const { Command } = await import('vircommand');
    const command = commandWith(Command, steps);
    let same;
    return { run: (program, args) => (same ??= command(program, args)).run() };
  },
  prepared: async (_, steps) => {
    const { Command } = await import('vircommand');
    if (typeof Command.prototype.prepare !== 'function') throw new Error('this version has no prepare()');
    const command = commandWith(Command, steps);
    let prepared;
    return { run: (program, args) => (prepared ??= command(program, args).prepare()).run() };
  },
  child_process: async (_, { uid, gid } = {}) => {
    const { spawn } = await import('node:child_process');
    // It sets the ids, and the kernel takes the capabilities with them; groups and bounding set stay.
    const ids = uid === undefined ? {} : { uid, gid };
    const start = (program, args, stdout) =>
      new Promise((resolve, reject) => {
        const chunks = [];
        const child = spawn(program, args, { stdio: ['ignore', stdout, 'ignore'], ...ids });
        child.stdout?.on('data', (chunk) => chunks.push(chunk));
        child.on('error', reject);
        child.on('close', (code) => (code === 0 ? resolve(chunks) : reject(new Error(`exit code ${code}`))));
      });
    return {
      run: (program, args) => start(program, args, 'ignore'),
      text: async (program, args) => Buffer.concat(await start(program, args, 'pipe')).toString(),
      bytes: async (program, args) => Buffer.concat(await start(program, args, 'pipe')),
      lines: async (program, args) => counted((await readLines(program, args)).interface),
    };
  },
  /** Its readline without the iteration. */
  events: async () => ({
    lines: async (program, args) => {
      const { interface: lines } = await readLines(program, args);
      let count = 0;
      lines.on('line', () => (count += 1));
      await new Promise((resolve) => lines.on('close', resolve));
      return count;
    },
  }),
  sh: async () => {
    const { text } = await adapters.child_process();
    return { pipe: (stages) => text('/bin/sh', ['-c', stages.map((words) => words.join(' ')).join(' | ')]) };
  },
  execa: async (load) => {
    const { execa } = await load('execa');
    const piped = { stdin: 'ignore', stderr: 'ignore', maxBuffer: LARGE };
    return {
      run: (program, args) => execa(program, args, { stdio: 'ignore' }),
      text: async (program, args) => (await execa(program, args, piped)).stdout,
      bytes: async (program, args) => (await execa(program, args, { ...piped, encoding: 'buffer' })).stdout,
      lines: (program, args) => counted(execa(program, args, { ...piped, buffer: false })),
      pipe: async ([[first, ...one], [second, ...two], [third, ...three]]) =>
        (
          await execa(first, one, { ...piped, buffer: false })
            .pipe(second, two, { stderr: 'ignore', buffer: false })
            .pipe(third, three, { stderr: 'ignore' })
        ).stdout,
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
      lines: (program, args) => counted(x(program, args, { nodeOptions: { stdio: ['ignore', 'pipe', 'ignore'] } })),
      pipe: async ([[first, ...one], [second, ...two], [third, ...three]]) =>
        (await x(first, one).pipe(second, two).pipe(third, three)).stdout,
    };
  },
  'nano-spawn': async (load) => {
    const { default: spawn } = await load('nano-spawn');
    const output = async (program, args) => (await spawn(program, args, { stdin: 'ignore', stderr: 'ignore' })).stdout;
    return {
      run: (program, args) => spawn(program, args, { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' }),
      text: output,
      bytes: output,
      lines: (program, args) => counted(spawn(program, args, { stdin: 'ignore', stderr: 'ignore' }).stdout),
      pipe: async ([[first, ...one], [second, ...two], [third, ...three]]) =>
        (await spawn(first, one).pipe(second, two).pipe(third, three)).stdout,
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
      // Its shell, which has no program of its own.
      pipe: ([first, second, third]) => Bun.$`${first} | ${second} | ${third}`.text(),
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
adapters.plain = adapters.vircommand;

/** How many lines an iteration gives. */
async function counted(lines) {
  let count = 0;
  for await (const line of lines) if (typeof line === 'string') count += 1;
  return count;
}

/** Node's readline over the output of a program. */
async function readLines(program, args) {
  const { spawn } = await import('node:child_process');
  const { createInterface } = await import('node:readline');
  const { stdout } = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return { interface: createInterface({ input: stdout, crlfDelay: Infinity }) };
}

/** A function that makes a command with what the row wants done in the child. */
function commandWith(Command, { uid, gid, cgroup } = {}) {
  if (uid !== undefined) return (program, args) => new Command(program, ...args).uid(uid).gid(gid).clearCaps();
  if (cgroup !== undefined) return (program, args) => new Command(program, ...args).cgroup(cgroup);
  return (program, args) => new Command(program, ...args);
}

/** Fails where ours would run on another engine than the row means. */
async function checkEngine(wanted) {
  const { engineInfo } = await import('vircommand');
  const { engine, why } = engineInfo();
  if (engine !== wanted) throw new Error(why);
}

/** The functions of a rival. */
export async function adapter(rival, { engine, steps }, load) {
  if (engine !== undefined) await checkEngine(engine);
  return adapters[rival](load, steps);
}
