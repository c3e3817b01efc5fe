// Puts the addon that was built here where a published package has it: prebuilds/<platform>-<arch>-<libc>.
// A package needs no install script then, and a place without a prebuilt addon falls back to the portable engine.
import { cpSync, existsSync, mkdirSync } from 'node:fs';

const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
const from = new URL('../src/native/build/Release/', import.meta.url);
const to = new URL(`../prebuilds/${process.platform}-${process.arch}-${libc}/`, import.meta.url);

mkdirSync(to, { recursive: true });
for (const name of ['vircommand.node', 'vircommand-helper']) {
  if (!existsSync(new URL(name, from))) throw new Error(`There is no ${name}; run \`npm run build:native\` first.`);
  cpSync(new URL(name, from), new URL(name, to));
}
