// JSON lines: one request a line on stdin, one answer or event a line on stdout.
//
// Request {id, op, ...} -> {id, ...result} or {id, error}. An event has no id: {event, ...}. Requests run
// concurrently, so an answer may overtake another; the end of stdin ends the program.
import readline from 'node:readline';

// Libraries print to stdout now and then, which would break the framing.
console.log = console.info = console.error;

const say = value => process.stdout.write(JSON.stringify(value) + '\n');

export const emit = (event, fields = {}) => say({ event, ...fields });

/** Answers requests with the handler named by `op` until stdin ends. */
export function serve(handlers) {
  const input = readline.createInterface({ input: process.stdin });
  input.on('line', async line => {
    const { id, op, ...args } = JSON.parse(line);
    try {
      if (!Object.hasOwn(handlers, op)) throw new Error(`unknown op ${op}`);
      say({ id, ...(await handlers[op](args)) });
    } catch (error) {
      say({ id, error: String(error?.stack ?? error) });
    }
  });
  input.on('close', () => process.exit(0));
  emit('ready', { node: process.version });
}

export const bytes = text => new Uint8Array(Buffer.from(text, 'base64'));
export const base64 = data => Buffer.from(data).toString('base64');

/** Resolves with the first truthy value of `check`, asked at once and again at every `signal(again)`. */
export function until(check, signal, limitMs, what) {
  return new Promise((resolve, reject) => {
    let stop = () => {};
    const finish = (settle, value) => { clearTimeout(timer); stop(); settle(value); };
    const timer = setTimeout(() => finish(reject, new Error(`after ${limitMs} ms still not: ${what}`)), limitMs);
    const again = () => {
      try {
        const value = check();
        if (value) finish(resolve, value);
      } catch (error) {
        finish(reject, error);
      }
    };
    stop = signal(again) ?? stop;
    again();
  });
}
