/**
 * Shows the steps of long work on standard error while someone watches: a spinner on the step that runs, a tick and its
 * seconds when the next begins, and how much of the volumes has come. In a pipe only the ticks and a line for each volume,
 * and those only with --progress; warnings always. With --json the lines of the daemon go out as they are.
 */
import { Option } from 'commander';
import { onErr, type Io } from './io.ts';
import { environmentFileWarning, type Progress } from '../api/schema.ts';
import { describeVolume, describeVolumes, type VolumeLine } from './volumes-text.ts';

export interface ProgressView {
  line: (line: Progress) => void;
  /** What is being done now, for somebody who presses Ctrl-C. */
  readonly current: string;
  /** Ends the last step. */
  end: (outcome: 'done' | 'failed') => void;
  /** A line between the steps. */
  say: (text: string) => void;
}

/** Read in io.ts, because it belongs to the streams and not to one command. */
export const progressOption = (): Option =>
  new Option('--progress', 'show the steps also in a pipe (a terminal always shows them)');

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** Steps that only say that all is over; there is nothing to wait for after them. */
const closing = new Set(['done', 'released']);

export function createProgressView(io: Io, jsonTo: (text: string) => void = io.out): ProgressView {
  let step: { name: string; message: string; seconds: number; began: number } | undefined;
  /** Those that this step waits for, by name. */
  const volumes = new Map<string, VolumeLine>();
  let timer: NodeJS.Timeout | undefined;
  let frame = 0;

  const described = (message: string): string =>
    volumes.size === 0 ? message : `${message}: ${describeVolumes([...volumes.values()])}`;
  const clear = (): void => {
    if (io.watched && !io.json) io.err('\r\u001b[K');
  };
  const draw = (): void => {
    if (!step || !io.watched || io.json) return;
    const seconds = ((performance.now() - step.began) / 1000).toFixed(1);
    const text = `${frames[frame % frames.length]} ${described(step.message)} ${seconds} s`;
    // A line that wraps cannot be taken back.
    io.err(`\r\u001b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
  };
  const finish = (mark: 'done' | 'failed', seconds?: number): void => {
    if (!step) return;
    const took = seconds === undefined ? (performance.now() - step.began) / 1000 : seconds - step.seconds;
    clear();
    if (io.steps && !io.json) {
      const sign = mark === 'done' ? onErr('green', '✓') : onErr('red', '✗');
      io.err(`${sign} ${described(step.message)} ${onErr('dim', `${Math.max(took, 0).toFixed(1)} s`)}\n`);
    }
    step = undefined;
    volumes.clear();
    clearInterval(timer);
  };

  return {
    line(line) {
      if (io.json) {
        jsonTo(`${JSON.stringify(line)}\n`);
        if (line.type === 'step')
          step = { name: line.step, message: line.message, seconds: line.seconds, began: performance.now() };
        return;
      }
      if (line.type === 'step') {
        finish(line.step === 'undo' ? 'failed' : 'done', line.seconds);
        if (closing.has(line.step)) return;
        step = { name: line.step, message: line.message, seconds: line.seconds, began: performance.now() };
        draw();
        if (io.watched) {
          timer = setInterval(() => {
            frame++;
            draw();
          }, 100).unref();
        }
      } else if (line.type === 'volume') {
        const before = volumes.get(line.name)?.state;
        volumes.set(line.name, line);
        if (io.watched) draw();
        else if (io.steps && line.state !== before && line.state !== 'waiting' && line.state !== 'downloading')
          io.err(`  ${describeVolume(line)}\n`);
      } else if (line.type === 'warning' && line.code !== environmentFileWarning) {
        clear();
        io.err(`${onErr('yellow', 'warning:')} ${line.message}\n`);
        draw();
      }
    },
    get current() {
      return step?.message ?? 'the daemon';
    },
    end: (outcome) => finish(outcome),
    say(text) {
      clear();
      io.err(`${text}\n`);
      draw();
    },
  };
}
