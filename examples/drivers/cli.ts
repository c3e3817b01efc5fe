// A command-line tool: many jobs, some at a time, and an editor at the terminal.
import { Command, ExitError, type RunResult } from 'vircommand';

/** Runs the commands, so many at a time, and tells of each that is done. Ctrl-C, or the first that fails, ends the others. */
export async function runJobs(commands: readonly Command[], atOnce: number, onDone: (done: number) => void): Promise<RunResult[]> {
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt);
  const results: RunResult[] = [];
  const waiting = commands.entries();
  let done = 0;
  const worker = async (): Promise<void> => {
    for (const [index, command] of waiting) {
      // In a session of its own, a job hears of Ctrl-C from here, and not from the terminal.
      results[index] = await command.clone().newSession().abortSignal(abort.signal).run();
      onDone((done += 1));
    }
  };
  try {
    const workers = Array.from({ length: atOnce }, worker);
    await Promise.all(workers).catch(async (error: unknown) => {
      abort.abort(error);
      await Promise.allSettled(workers);
      throw error;
    });
    return results;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

/** Has the user edit a file. False: the editor said that it was not saved. Ctrl-C is the editor's. */
export async function edit(file: string, editor = process.env['EDITOR'] ?? 'vi'): Promise<boolean> {
  const ignore = (): void => undefined;
  process.on('SIGINT', ignore);
  try {
    await new Command('sh', '-c', `exec ${editor} "$1"`, 'sh', file).inheritStdio().run();
    return true;
  } catch (error) {
    if (error instanceof ExitError && error.reason === 'exit-code') return false;
    throw error;
  } finally {
    process.off('SIGINT', ignore);
  }
}
