import { beforeEach } from 'vitest';

// What a test starts tells by its environment which test that was: nothing-left.ts names it, should it outlive the run.
beforeEach(({ task }) => {
  process.env['VIRCOMMAND_TEST'] = `${task.file.name} > ${task.name}`.replaceAll('\n', ' ');
});
