// Imports what the library imports from elsewhere, and does nothing with it.
import 'node:child_process';
import 'node:crypto';
import 'node:worker_threads';
import 'signal-exit';

void process.stderr;
