/** The language server that editors use for YAML (Red Hat's), as a process: what it offers at a place of a file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath, pathToFileURL } from 'node:url';

const program = fileURLToPath(import.meta.resolve('yaml-language-server/bin/yaml-language-server'));

interface Message {
  id?: number;
  method?: string;
  result?: unknown;
}

export interface Place {
  /** From 0. */
  line: number;
  character: number;
}

/** The labels of the completions at each place of the text, which is that of a file at `path`. */
export async function completionsAt(path: string, text: string, places: readonly Place[]): Promise<string[][]> {
  const server = spawn(process.execPath, [program, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  const answers = new Map<number, (result: unknown) => void>();
  let id = 0;
  /** Base protocol of the Language Server Protocol 3.17: a header with the length, then JSON. */
  const send = (message: object): void => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message });
    server.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  };
  const ask = (method: string, params: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      answers.set(++id, resolve);
      void ended.then(([code]) => reject(new Error(`the language server ended with status ${String(code)}`)));
      send({ id, method, params });
    });
  let come = Buffer.alloc(0);
  server.stdout.on('data', (chunk: Buffer) => {
    come = Buffer.concat([come, chunk]);
    for (;;) {
      const [head, length] =
        /^(?:.+\r\n)*?Content-Length: (\d+)\r\n(?:.+\r\n)*\r\n/.exec(come.toString('latin1')) ?? [];
      if (head === undefined || come.length < head.length + Number(length)) return;
      const body = come.subarray(head.length, head.length + Number(length));
      come = come.subarray(head.length + Number(length));
      const { id: of, method, result } = JSON.parse(body.toString()) as Message;
      if (of !== undefined && method === undefined) answers.get(of)?.(result);
      // It asks for settings, and waits for them; there are none.
      else if (of !== undefined)
        send({ id: of, result: method === 'workspace/configuration' ? [{}, {}, {}, {}, {}] : null });
    }
  });
  try {
    const uri = pathToFileURL(path).href;
    await ask('initialize', { processId: process.pid, rootUri: null, capabilities: {} });
    send({ method: 'initialized', params: {} });
    send({ method: 'textDocument/didOpen', params: { textDocument: { uri, languageId: 'yaml', version: 1, text } } });
    const found: string[][] = [];
    for (const position of places) {
      const result = await ask('textDocument/completion', { textDocument: { uri }, position });
      const items = (Array.isArray(result) ? result : (result as { items: unknown[] }).items) as Array<{
        label: string;
      }>;
      found.push(items.map(({ label }) => label));
    }
    return found;
  } finally {
    server.kill();
    await ended;
  }
}
