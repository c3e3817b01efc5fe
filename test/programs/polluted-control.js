// Tells whether something does another thing with a name in `Object.prototype`: nothing of this library is used.
// Arguments: node (its own functions), execa, import (of modules) or language; the name, or several with a plus between them; and the
// kind of the value. The last word of its output is the answer, and to fail is one too.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { PassThrough, pipeline, Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';
import { execa } from 'execa';

const [whose, given, kind] = process.argv.slice(2);
const keys = given.split('+').map((name) => {
  if (name.startsWith('@@for:')) return Symbol.for(name.slice('@@for:'.length));
  return name.startsWith('@@') ? Symbol[name.slice('@@'.length)] : name;
});
const value = {
  text: 'polluted',
  number: 1,
  true: true,
  object: {},
  array: ['polluted'],
  function: () => 'polluted',
}[kind];
function clean() {
  for (const key of keys) delete Object.prototype[key];
}

// The names are there before it imports what the library imports, and an empty module.
const importing = `
  const value = ${typeof value === 'function' ? '() => "polluted"' : JSON.stringify(value)};
  if (process.env.POLLUTED === 'yes')
    for (const name of ${JSON.stringify(keys.filter((key) => typeof key === 'string'))})
      Object.defineProperty(Object.prototype, name, {
        __proto__: null, value, writable: true, configurable: true, enumerable: true,
      });
  await import(${JSON.stringify(new URL('polluted-import.js', import.meta.url).href)});
`;

const script = 'cat; echo err >&2; exit 3';
async function read(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}
async function told(child, settled) {
  child.stdin?.end('hello');
  const view = new PassThrough();
  pipeline(child.stdout, view, () => undefined);
  const output = await Promise.all([read(view), read(child.stderr)]);
  return [...output, await settled];
}
const { env } = process;
let isPolluted = false;
const ways = {
  node: async () => {
    const child = spawn('sh', ['-c', script], { __proto__: null, stdio: 'pipe' });
    const output = await told(child, new Promise((resolve) => child.once('exit', resolve)));
    const paused = new PassThrough().pause();
    paused.once('finish', () => undefined).end('x');
    output.push(await read(paused));
    Readable.from(['x']).once('finish', () => undefined);
    const written = new Writable({ __proto__: null, write: (_chunk, _encoding, done) => done() }).end('x');
    output.push(await Promise.race([finished(written).then(() => 'finished'), wait(1000, 'not finished')]));
    // Two sockets; the other end of one is a program's output.
    const server = createServer((socket) => socket.end('hi'));
    await new Promise((resolve) => server.listen(0, resolve));
    output.push(await read(connect(server.address().port)));
    server.removeAllListeners('connection');
    const accepted = new Promise((resolve) => server.once('connection', resolve));
    const theirs = connect(server.address().port);
    const ours = await accepted;
    const stdio = ['ignore', 'ignore', 'ignore', theirs];
    const sharing = spawn('sh', ['-c', 'echo shared >&3'], { __proto__: null, stdio });
    await new Promise((resolve) => sharing.once('exit', resolve));
    theirs.destroy();
    output.push(await read(ours));
    await new Promise((resolve) => server.close(resolve));
    return output;
  },
  import: async () => {
    // In a process of its own, since all is imported here by now.
    const options = { __proto__: null, env: { ...env, POLLUTED: isPolluted ? 'yes' : 'no' } };
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', importing], options);
    return [status, stderr.length];
  },
  language: async () => [
    'a b'.split(' '),
    'a b'.replaceAll('a', 'b'),
    `${new Date(0).getTime()}${[1]}`,
    inspect({}),
    String({}),
    // What is not taken to its end is told to return.
    (([first]) => first)([1, 2]),
  ],
  execa: async () => {
    const all = {
      all: undefined,
      cwd: '/',
      encoding: 'utf8',
      extendEnv: false,
      env: { A: 'b', PATH: process.env.PATH },
    };
    const nothing = { buffer: false, reject: false, cleanup: false, stripFinalNewline: false, verbose: 'none' };
    const fd = openSync('/dev/null', 'r');
    const child = execa('sh', ['-c', script], {
      ...all,
      ...nothing,
      stdio: ['pipe', 'pipe', 'pipe', ...new Array(6).fill('ignore'), fd],
    });
    const output = await told(child, new Promise((resolve) => child.once('exit', resolve)));
    closeSync(fd);
    const failed = execa('/nowhere/at/all', [], { ...all, ...nothing, stdio: ['ignore', 'pipe', 'pipe'] });
    const { cause } = await failed;
    return [...output, cause?.code];
  },
};
const attempt = () =>
  Promise.race([
    ways[whose]().then(String, (error) => `error ${error}`),
    new Promise((resolve) => setTimeout(resolve, 3000, 'nothing came')),
  ]);

const before = await attempt();
process.on('uncaughtException', () => {
  clean();
  process.stdout.write(' breaks', () => process.exit(0));
});
isPolluted = true;
if (whose !== 'import') {
  for (const key of keys)
    Object.defineProperty(Object.prototype, key, {
      __proto__: null,
      value,
      writable: true,
      configurable: true,
      enumerable: true,
    });
}
let after = 'error';
try {
  after = await attempt();
} finally {
  clean();
}
process.stdout.write(before === after ? ' same' : ' breaks', () => process.exit(0));
