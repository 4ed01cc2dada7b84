/** moto, a double of AWS that others wrote, on loopback. It checks no signature. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { pythonOf } from '../../support/interop.ts'

const START_LIMIT_MILLIS = 120_000

export interface Moto extends AsyncDisposable {
  readonly url: string
}

export async function startMoto(): Promise<Moto> {
  const folder = await temporaryFolder()
  const port = await freePort()
  const args = ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)]
  const server = spawn(pythonOf('stores'), args, {
    cwd: folder.path,
    env: { PATH: process.env.PATH, HOME: folder.path },
    stdio: 'ignore',
  })
  const ended = once(server, 'exit')
  const url = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL')
    await ended
    await folder[Symbol.asyncDispose]()
  }
  const limit = Date.now() + START_LIMIT_MILLIS
  while (!(await answers(url))) {
    if (Date.now() > limit || server.exitCode !== null) {
      await stop()
      throw new Error('moto did not start.')
    }
    await sleep(100)
  }
  return { url, [Symbol.asyncDispose]: stop }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).status > 0
  } catch {
    // It does not listen yet.
    return false
  }
}
