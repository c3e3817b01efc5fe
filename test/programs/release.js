// Starts a program, lets it go, and ends. Prints its pid.
import { Command } from 'vircommand';

const [, , program, ...args] = process.argv;
process.stdout.write(String((await new Command(program, ...args).runAsync()).release()));
