/** The daemon of a realm that changes passwords and keys: RFC 3244, and the protocol of kadmin. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile } from 'node:fs/promises'
import { type Kdc, listening } from './kdc.ts'

export interface Kadmind extends AsyncDisposable {
  stop(): Promise<void>
}

/** @param administrators principals that may do everything by kadmin */
export async function startKadmind(kdc: Kdc, administrators: readonly string[] = []): Promise<Kadmind> {
  await appendFile(kdc.path('acl'), administrators.map((name) => `${name}@${kdc.realm} *\n`).join(''))
  const child = spawn('kadmind', ['-nofork', '-r', kdc.realm], {
    env: { PATH: `/usr/sbin:${process.env['PATH'] ?? ''}`, HOME: kdc.folder, ...kdc.environment },
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  const ended = once(child, 'exit')
  ended.catch(() => undefined)
  const atExit = (): void => void child.kill('SIGKILL')
  process.once('exit', atExit)
  const stop = async (): Promise<void> => {
    process.off('exit', atExit)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await ended
    }
  }
  try {
    const failed = ended.then(([code]) => Promise.reject(new Error(`kadmind ended with ${code}; see kdc.log`)))
    failed.catch(() => undefined)
    for (const port of kdc.adminPorts) await Promise.race([failed, listening(port)])
  } catch (error) {
    await stop()
    throw error
  }
  return { stop, [Symbol.asyncDispose]: stop }
}
