import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const LISTEN = `
  const [host, port] = process.argv.slice(1)
  const server = require('node:net').createServer().listen({ host, port: Number(port), backlog: 1 }, () => {
    process.stdout.write(server.address().port + '\\n')
  })
`

/**
 * An address of this machine that answers no attempt to connect, as behind a firewall that drops packets: a listening
 * process is stopped, and its queue of waiting connections is full.
 */
export async function startSilentAddress(
  host: string,
  port = 0,
): Promise<{ readonly host: string; readonly port: number } & AsyncDisposable> {
  const child = spawn(process.execPath, ['-e', LISTEN, host, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const fillers: Socket[] = []
  const end = async (): Promise<void> => {
    for (const socket of fillers) socket.destroy()
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const actual = Number(line.toString())
    child.kill('SIGSTOP')
    // The queue is full once an attempt hangs.
    for (let silent = false; !silent; ) {
      const socket = connect({ host, port: actual })
      socket.on('error', () => undefined)
      fillers.push(socket)
      silent = await Promise.race([once(socket, 'connect').then(() => false), sleep(300, true)])
    }
    return { host, port: actual, [Symbol.asyncDispose]: end }
  } catch (error) {
    await end()
    throw error
  }
}
