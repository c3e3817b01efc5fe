import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parentWords, resultIn } from '../helpers/native.js';
import { inPipes } from '../helpers/streams.js';
import { fixture, hasProgram, useDirectory } from '../helpers/tools.js';

/** What a pipe of Linux holds until somebody reads. */
const PIPE_SIZE = 65_536;

/** What `seq 1 300000` writes. */
const SEQ_SIZE = 1_988_895;

/**
 * Node makes this process's own streams non-blocking at their first use, be it only to set how many listeners they may have.
 * child_process lets 0, 1 and 2 of its programs block.
 */
export function blockingContract(): void {
  describe('standard streams that do not block in this process block in the program, as with child_process:', () => {
    const path = useDirectory();

    test.for(['inheritStdio', 'outputFd'] as const)(
      'it writes all that it has to say into a pipe that is full, %s()',
      async (way) => {
        const { output, result } = await inPipes(
          async ({ Command: Program }, asked: { way: string; filled: string; size: number }) => {
            process.stdout.setMaxListeners(20);
            const script = 'head -c "$1" /dev/zero; : >"$2"; exec seq 1 300000';
            const command = new Program('sh', '-c', script, 'sh', asked.size, asked.filled);
            if (asked.way === 'inheritStdio') command.inheritStdio();
            else command.outputFd(1).errorFd(2);
            const { exitCode } = await command.run({ check: false });
            return exitCode;
          },
          { way, filled: path('filled'), size: PIPE_SIZE },
          { directory: path(), drain: 'while [ ! -e filled ]; do sleep 0.05; done; sleep 0.2; cat' },
        );
        expect({ size: output.length, result }).toEqual({ size: PIPE_SIZE + SEQ_SIZE, result: 0 });
      },
    );

    test.for(['inheritStdio', 'inputFd'] as const)(
      'it waits for a line that comes late through a pipe, %s()',
      async (way) => {
        const { output, result } = await inPipes(
          async ({ Command: Program }, asked: { way: string; waits: string }) => {
            process.stdin.setMaxListeners(20);
            const command = new Program('sh', '-c', ': >"$1"; exec head -n 1', 'sh', asked.waits);
            if (asked.way === 'inheritStdio') command.inheritStdio();
            else command.inputFd(0).outputFd(1);
            const { exitCode } = await command.run({ check: false });
            return exitCode;
          },
          { way, waits: path('waits') },
          { directory: path(), feed: 'while [ ! -e waits ]; do sleep 0.05; done; sleep 0.2; echo late' },
        );
        expect({ output, result }).toEqual({ output: 'late\n', result: 0 });
      },
    );

    test('it waits for a line that is typed at a terminal', async ({ skip }) => {
      if (!hasProgram('python3')) skip('there is no python3, whose module makes the terminal');
      const words = parentWords(async ({ Command: Program }) => {
        process.stdin.setMaxListeners(20);
        process.stdout.setMaxListeners(20);
        const command = new Program('sh', '-c', 'echo ready; exec head -n 1').inheritStdio();
        return (await command.run({ check: false })).exitCode;
      }, undefined);
      const { stdout, stderr } = await promisify(execFile)('python3', [fixture('at-terminal.py'), ...words]);
      expect(resultIn(stdout, stderr)).toBe(0);
      // Once as the terminal's echo, and once from the program.
      expect(stdout.match(/^late$/gm)).toHaveLength(2);
    });

    test('a socket of the event loop blocks as its input', async () => {
      const { result } = await inPipes(
        async ({ Command: Program }, socketPath) => {
          const { createServer, connect } = process.getBuiltinModule('node:net');
          const server = createServer().listen(socketPath);
          const client = connect(socketPath);
          await new Promise((resolve) => client.once('connect', resolve));
          const fd = (client as unknown as { _handle: { fd: number } })._handle.fd;
          const { stdout } = await new Program('grep', 'flags', '/proc/self/fdinfo/0').inputFd(fd).outputBuffer().run();
          client.destroy();
          server.close();
          return stdout;
        },
        path('socket'),
        { directory: path() },
      );
      expect(Number.parseInt(/\d+/.exec(result)?.[0] ?? '', 8) & O_NONBLOCK).toBe(0);
    });
  });
}

const O_NONBLOCK = 0o4000;
