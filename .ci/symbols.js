// The code between clone() and execve() may use no library: a lock that another thread holds would never be released
// there. The linker knows what an object file needs, so it is asked, for the very objects that were built.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const objects = ['vircommand', 'vircommand-helper'].map((target) =>
  fileURLToPath(new URL(`../src/native/build/Release/obj.target/${target}/child/child.o`, import.meta.url)),
);

for (const object of objects) {
  if (!existsSync(object)) {
    console.error(`${object} is missing. Run \`npm run build:native\` first.`);
    process.exit(1);
  }
  const needed = execFileSync('nm', ['--undefined-only', '--format=posix', object], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ')[0]);
  if (needed.length > 0) {
    console.error(
      `src/native/child/child.c needs ${needed.join(', ')}. It may use nothing but the system calls of sys.h.`,
    );
    process.exit(1);
  }
}
console.log('child.c needs no symbol of any library.');
