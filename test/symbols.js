// Holds the symbols that C code between clone and exec may call against an allow-list.
import { existsSync } from 'node:fs';

if (!existsSync(new URL('../src/native', import.meta.url))) {
  console.log('symbols: there is no C yet (no src/native), so there is nothing to check.');
} else {
  console.error('symbols: src/native exists, but nothing compares its symbols with an allow-list. Let this script run `nm -u` on the object file of child.c.');
  process.exitCode = 1;
}
