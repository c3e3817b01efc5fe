// Tells whether Node's own functions, or execa's, do another thing with a name in `Object.prototype`: nothing of this library is used.
// Arguments: node or execa, the name, and the kind of its value. The last word of its output is the answer.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { PassThrough, pipeline } from 'node:stream';
import { execa } from 'execa';

const [whose, name, kind] = process.argv.slice(2);
const value = { text: 'polluted', number: 1, true: true, object: {}, function: () => 'polluted' }[kind];

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
const ways = {
  node: async () => {
    const child = spawn('sh', ['-c', script], { __proto__: null, stdio: 'pipe' });
    const output = await told(child, new Promise((resolve) => child.once('exit', resolve)));
    const server = createServer((socket) => socket.end('hi'));
    await new Promise((resolve) => server.listen(0, resolve));
    const greeting = await read(connect(server.address().port));
    await new Promise((resolve) => server.close(resolve));
    return [...output, greeting];
  },
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
  delete Object.prototype[name];
  process.stdout.write(' breaks', () => process.exit(0));
});
Object.defineProperty(Object.prototype, name, {
  __proto__: null,
  value,
  writable: true,
  configurable: true,
  enumerable: true,
});
let after = 'error';
try {
  after = await attempt();
} finally {
  delete Object.prototype[name];
}
process.stdout.write(before === after ? ' same' : ' breaks', () => process.exit(0));
