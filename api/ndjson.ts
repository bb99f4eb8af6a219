/** Newline-delimited JSON from any byte stream: one value per line, a bounded line, a torn last line is an error. */

const lineLimit = 16 * 1024 * 1024;

export async function* readNdjson(chunks: AsyncIterable<Buffer | string>): AsyncGenerator<unknown, void, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    let end: number;
    while ((end = rest.indexOf('\n')) >= 0) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line !== '') yield JSON.parse(line);
    }
    if (rest.length > lineLimit) throw new Error(`a line is longer than ${lineLimit} characters`);
  }
  if (rest !== '') throw new Error('the stream ended within a line');
}
