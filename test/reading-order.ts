/**
 * The files of `src` in the order in which to read them. It is also the law of the house: a file
 * imports only files that stand above it, so there are no cycles and no way back up.
 */
export const readingOrder: readonly string[] = [
  'signals.ts',
  'errno.ts',
  'bytes.ts',
  'capabilities.ts',
  'quote.ts',
  'spec.ts',
  'output.ts',
  'result.ts',
  'steps.ts',
  'errors.ts',
  'native/binding.ts',
  'host.ts',
  'pidfile-problem.ts',
  'plan.ts',
  'engine/types.ts',
  'explain.ts',
  'engine/diagnose.ts',
  'engine/encode.ts',
  'abort.ts',
  'engine/files.ts',
  'engine/socket-pair.ts',
  'engine/portable.ts',
  'engine/operations.ts',
  'engine/lane.ts',
  'engine/letter.ts',
  'engine/hook-lane.ts',
  'engine/native-process.ts',
  'engine/native.ts',
  'engine/dry-run.ts',
  'engine/select.ts',
  'events.ts',
  'process-table.ts',
  'pidfd.ts',
  'reaper.ts',
  'kill.ts',
  'subreaper.ts',
  'kill-tree.ts',
  'outcome.ts',
  'child.ts',
  'patience.ts',
  'spawner.ts',
  'pidfile-content.ts',
  'pidfile-lock.ts',
  'pidfile-cleanup.ts',
  'pidfile.ts',
  'daemonize.ts',
  'printf.ts',
  'descriptors.ts',
  'draft.ts',
  'combinations.ts',
  'hook.ts',
  'calls.ts',
  'command.ts',
  'hook-runner.ts',
  'testing.ts',
  'index.ts',
];

/**
 * Says, one sentence each, where files and their imports break the order.
 *
 * @param imports what each file imports from `src`; all paths are relative to `src`.
 */
export function orderViolations(imports: ReadonlyMap<string, readonly string[]>, order: readonly string[]): string[] {
  const violations: string[] = [];
  for (const [index, file] of order.entries()) {
    if (order.indexOf(file) !== index) violations.push(`'${file}' stands twice in test/reading-order.ts. Remove one.`);
    if (!imports.has(file)) violations.push(`'${file}' stands in test/reading-order.ts, but src has no such file. Remove it there.`);
  }
  for (const [file, targets] of imports) {
    const place = order.indexOf(file);
    if (place === -1) {
      violations.push(`'${file}' is missing in test/reading-order.ts. Insert it below everything it imports.`);
      continue;
    }
    for (const target of targets) {
      if (!imports.has(target)) {
        violations.push(`'${file}' imports '${target}', which is no file of src. Correct the path.`);
      } else if (order.includes(target) && order.indexOf(target) >= place) {
        violations.push(
          `'${file}' imports '${target}', which does not stand above it in test/reading-order.ts. ` +
            `Move what both need into a file above '${file}', or pass it in as an argument.`,
        );
      }
    }
  }
  return violations;
}
