// Formats the C files by src/native/.clang-format; `--check` changes nothing, and fails where a file is not formatted.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const files = ['src/native', 'test', 'bench'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.[ch]$/.test(file) && !/(^|\/)build\//.test(file))
    .map((file) => join(folder, file)),
);
const action = process.argv.includes('--check') ? ['--dry-run', '-Werror'] : ['-i'];
const { error, status } = spawnSync('clang-format', ['--style=file:src/native/.clang-format', ...action, ...files], {
  cwd: root,
  stdio: 'inherit',
});
if (error !== undefined) console.log(`The C files were not looked at: there is no clang-format here (${error.code}).`);
process.exit(error === undefined ? status : 0);
