// What a run needs before it begins: the rivals, the C programs, and the scripts of the cold start, all of them in the cache.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { all, packages } from './rivals.js';

const here = fileURLToPath(new URL('.', import.meta.url));

/** An environment of 20 variables, the same wherever the bench runs: its size counts, and its values do not. */
export const environmentOf = (cache) => ({
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LANG: 'C.UTF-8',
  DENO_DIR: `${cache}/deno`,
  DENO_NO_UPDATE_CHECK: '1',
  ...Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [
      `BENCH_VARIABLE_${index}`,
      `a value of ordinary length, number ${index}`,
    ]),
  ),
});

/** Makes all that these rivals need. Returns what each runs in, without those that cannot be had, and whether C was compiled. */
export function prepare(names, cache, note) {
  mkdirSync(cache, { recursive: true });
  // npm puts packages beside the nearest package.json: this one keeps them in the cache.
  if (!existsSync(`${cache}/package.json`)) writeFileSync(`${cache}/package.json`, '{ "private": true }\n');
  install(names, cache, note);
  const compiled = compile(cache, note);
  writeStartScripts(cache);
  const runtimes = Object.fromEntries(
    names
      .filter((name) => name !== 'floor' || compiled)
      .map((name) => [name, runtimeOf(name, cache, note)])
      .filter(([, runtime]) => runtime !== undefined),
  );
  return { compiled, runtimes };
}

function install(names, cache, note) {
  const missing = names.filter((name) => packages[name] !== undefined && !isInstalled(packages[name], cache));
  if (missing.length === 0) return;
  console.log(`fetching ${missing.map((name) => packages[name]).join(', ')}`);
  // One that cannot be had must not cost the others; where none can be reached, that is found out once.
  if (fetch(missing, cache) === 'done') return;
  let isOffline = false;
  for (const name of missing) {
    const outcome = isOffline ? 'offline' : fetch([name], cache);
    isOffline = outcome === 'offline';
    if (outcome !== 'done') note(`${packages[name]} cannot be had here; it is left out`);
  }
}

function fetch(names, cache) {
  const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', '--fetch-retries=0'];
  try {
    execFileSync('npm', ['i', '--prefix', cache, ...flags, ...names.map((name) => packages[name])], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
    return 'done';
  } catch (error) {
    return /E(AI_AGAIN|CONN\w+|NETUNREACH|HOSTUNREACH|TIMEDOUT)|ENOTFOUND|ENOENT/.test(error.stderr ?? error.code)
      ? 'offline'
      : 'failed';
  }
}

function isInstalled(id, cache) {
  const at = id.lastIndexOf('@');
  const manifest = `${cache}/node_modules/${id.slice(0, at)}/package.json`;
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === id.slice(at + 1);
}

function compile(cache, note) {
  mkdirSync(`${cache}/bin`, { recursive: true });
  const cc = (name, ...flags) =>
    execFileSync('cc', ['-O2', '-D_GNU_SOURCE', ...flags, '-o', `${cache}/bin/${name}`, `${here}programs/${name}.c`], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  try {
    cc('floor');
    cc('writer');
    cc('noop', '-static');
    return true;
  } catch {
    note(
      'there is no C compiler (cc) that links static programs: no floor, no static program, no capture of much output',
    );
    return false;
  }
}

/** In the cache the scripts find the rivals by their names, as an application would, and this package by a link. */
function writeStartScripts(cache) {
  const start = `${cache}/start`;
  rmSync(start, { recursive: true, force: true });
  cpSync(`${here}start`, start, { recursive: true });
  writeFileSync(`${start}/package.json`, '{ "type": "module" }\n');
  mkdirSync(`${start}/node_modules`);
  symlinkSync(fileURLToPath(new URL('..', import.meta.url)), `${start}/node_modules/vircommand`);
}

/** The program that a rival's scripts run in, with its version, or undefined where it cannot run. */
function runtimeOf(name, cache, note) {
  const { runtime, binary, title } = all[name];
  if (runtime === 'c') return { argv: [], version: 'cc -O2' };
  if (runtime === 'node') {
    const id = packages[name];
    if (id !== undefined && !isInstalled(id, cache)) return undefined;
    return { argv: [process.execPath], version: id?.slice(id.lastIndexOf('@') + 1) ?? process.version };
  }
  const path = `${cache}/node_modules/${binary}`;
  if (!existsSync(path)) return undefined;
  try {
    const env = environmentOf(cache);
    const version = /\d+\.\d+\.\d+/.exec(execFileSync(path, ['--version'], { encoding: 'utf8', env }))[0];
    return { argv: runtime === 'bun' ? [path] : [path, 'run', '-A', '--quiet', '--no-lock'], version };
  } catch {
    note(`${title} does not run on this machine; it is left out`);
    return undefined;
  }
}
