// Says on standard error how far the run is and what is left: a line that rewrites itself on a terminal, else a line for each row.

const WIDTH = 78;
/** From here on, in seconds of trials, the pace of this run counts, and not that of the machine where the rows were written. */
const PACE_FROM = 5;

const shown = (seconds) => {
  const whole = Math.max(5, Math.round(seconds / 5) * 5);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min${whole % 60 === 0 ? '' : ` ${whole % 60} s`}`;
};

export class Progress {
  #stream;
  #startedAt = performance.now();
  /** How long all trials were thought to take, and those that are done. */
  #expected;
  #done = 0;
  #place = 0;
  #rows;
  #row;

  /** `rows` are all of the run, each with its name, the number of its trials, and the seconds thought of for one. */
  constructor(rows, stream = process.stderr) {
    this.#stream = stream;
    this.#rows = rows;
    this.#expected = rows.reduce((sum, { trials, seconds }) => sum + trials * seconds, 0);
  }

  /** The next row begins. */
  row() {
    this.#row = this.#rows[this.#place];
    this.#place += 1;
    if (!this.#stream.isTTY) this.#stream.write(`${this.#head()}, ${this.#left()}\n`);
  }

  /** A trial of the row begins. */
  trial(detail) {
    if (this.#stream.isTTY) this.#stream.write(`\r${`${this.#head()}: ${detail}, ${this.#left()}`.padEnd(WIDTH)}\r`);
    this.#done += this.#row.seconds;
  }

  /** Empties the line, for others who write. */
  clear() {
    if (this.#stream.isTTY) this.#stream.write(`\r${' '.repeat(WIDTH)}\r`);
  }

  #head() {
    return `[${this.#place}/${this.#rows.length}] ${this.#row.name}`;
  }

  #left() {
    const elapsed = (performance.now() - this.#startedAt) / 1000;
    const pace = this.#done < PACE_FROM ? 1 : elapsed / this.#done;
    return `about ${shown((this.#expected - this.#done) * pace)} left`;
  }
}
