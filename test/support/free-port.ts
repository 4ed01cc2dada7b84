import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below the ports that systems hand out themselves (from 32,768 on Linux), and above those of well-known services. */
const LOWEST = 10_000
const HIGHEST = 32_000

/**
 * A port of 127.0.0.1 without a listener, for a server that needs a given port, or for a refused connection. It is
 * outside the range from which the system gives ports to the sockets of other tests.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    )
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
