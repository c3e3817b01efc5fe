// The code between clone() and execve() may use no library: a lock that another thread holds would never be released
// there. The linker knows what an object file needs, so it is asked, for the very objects that were built.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const files = [
  ['vircommand', 'child/child', []],
  ['vircommand-helper', 'child/child', []],
  // A launcher thread, which the library does not know, calls what the child does.
  ['vircommand', 'launcher/thread', ['child_run']],
];

for (const [target, file, ours] of files) {
  const object = fileURLToPath(new URL(`../src/native/build/Release/obj.target/${target}/${file}.o`, import.meta.url));
  if (!existsSync(object)) {
    console.error(`${object} is missing. Run \`npm run build:native\` first.`);
    process.exit(1);
  }
  const needed = execFileSync('nm', ['--undefined-only', '--format=posix', object], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ')[0])
    .filter((symbol) => !ours.includes(symbol));
  if (needed.length > 0) {
    console.error(`src/native/${file}.c needs ${needed.join(', ')}. It may use nothing but the system calls of sys.h.`);
    process.exit(1);
  }
}
console.log('child.c and thread.c need no symbol of any library.');
