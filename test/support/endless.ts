import type { ServerResponse } from 'node:http'

/** Writes an endless body until the client disconnects; resolves with the number of bytes that the client read. */
export function answerWithoutEnd(response: ServerResponse): Promise<number> {
  let bytes = 0
  const chunk = Buffer.alloc(64 * 1024, ' ')
  return new Promise((resolve) => {
    const write = (): void => {
      while (!response.destroyed && response.write(chunk)) bytes += chunk.length
    }
    response.on('drain', write)
    response.on('close', () => resolve(bytes))
    write()
  })
}
