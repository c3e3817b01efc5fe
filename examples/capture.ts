// Feeding a program and reading what it writes: as text, as bytes, and cut to a limit.
import { Command, LaunchError } from 'vircommand';

const sorted = await new Command('sort', '-r').inputBuffer('first\nsecond\nthird\n').outputBuffer().run();
console.log(`sort read ${sorted.inputWritten} bytes and wrote:\n${sorted.stdout}`);

const random = await new Command('head', '-c', 4, '/dev/urandom').outputBuffer({ encoding: 'buffer' }).run();
console.log(`Four random bytes, not text: ${random.stdout.toString('hex')}`);

const long = await new Command('seq', 100_000).outputBuffer().outputLimit(40, 'headAndTail').run();
console.log(`seq wrote ${long.outputBytes.stdout} bytes. The two ends of it:\n${long.stdout}`);

// A program that answers by its exit code: with `check: false` no exit code is an error.
const { exitCode } = await new Command('grep', '-q', 'root', '/etc/passwd').run({ check: false });
console.log(exitCode === 0 ? 'There is a user root.' : 'There is no user root.');

// A program that did not run is another matter; `check: false` does not hide it.
try {
  await new Command('no-such-program').run({ check: false });
} catch (error) {
  if (!(error instanceof LaunchError)) throw error;
  console.log(`The failed step is '${error.step}': ${error.message}`);
}
