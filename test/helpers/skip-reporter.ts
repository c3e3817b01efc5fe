import type { Reporter, TestModule, Vitest } from 'vitest/node';

/**
 * Ends a run with every skipped test and its reason, so that nothing is skipped silently: a skip without a reason fails the run.
 * Of tests that `-t` leaves out, and of those behind one that failed or behind an `only`, nothing is said.
 */
export default class SkipReporter implements Reporter {
  #isWhole = true;

  onInit({ config }: Vitest): void {
    this.#isWhole = config.testNamePattern === undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const reasons: string[] = [];
    const unexplained: string[] = [];
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        const reason = result.state === 'skipped' ? result.note : undefined;
        const name = `  ${module.relativeModuleId} > ${test.fullName}`;
        if (reason !== undefined) reasons.push(`${name}: ${reason}`);
        else unexplained.push(name);
      }
    }
    if (reasons.length > 0) process.stdout.write(`\nSkipped:\n${reasons.join('\n')}\n`);
    if (unexplained.length === 0 || !this.#isWhole) return;
    process.stdout.write(
      `\nSkipped without a reason, which is a failure: call skip(why) in the test.\n${unexplained.join('\n')}\n`,
    );
    process.exitCode = 1;
  }
}
