/** Three nodes of OpenBao with one storage (Raft): one is active, and two are standbys. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { administer, type VaultServer } from '../../support/vault/server.ts'
import { openBaoProgram } from './openbao.ts'

const LIMIT_MILLIS = 120_000
/** The status of a node's answer about its health. */
const ACTIVE = 200
const STANDBY = 429

interface Node {
  readonly name: string
  readonly address: string
  readonly process: ChildProcess
}

export interface Nodes extends AsyncDisposable {
  /** The node that is active now, once there is one. */
  active(): Promise<VaultServer & { end(): Promise<void> }>
  /** A node that stands by, once there is one beside the active one. */
  standby(): Promise<VaultServer>
  unseal(server: VaultServer): Promise<void>
}

async function until<Value>(what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
  const limit = Date.now() + LIMIT_MILLIS
  for (;;) {
    // A node that does not answer yet, or is being sealed, is asked again.
    const value = await ask().catch(() => undefined)
    if (value !== undefined) return value
    if (Date.now() > limit) throw new Error(`OpenBao: ${what} did not come about.`)
    await sleep(100)
  }
}

export async function startNodes(): Promise<Nodes> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const places = await Promise.all(
    ['a', 'b', 'c'].map(async (name) => ({ name, port: await freePort(), cluster: await freePort() })),
  )
  const [leader] = places
  const nodes: Node[] = []
  for (const { name, port, cluster } of places) {
    await mkdir(join(folder, name))
    const file = join(folder, `${name}.json`)
    const joined = name === 'a' ? undefined : [{ leader_api_addr: `http://127.0.0.1:${leader?.port}` }]
    const settings = {
      storage: { raft: { path: join(folder, name), node_id: name, retry_join: joined } },
      listener: { tcp: { address: `127.0.0.1:${port}`, cluster_address: `127.0.0.1:${cluster}`, tls_disable: true } },
      api_addr: `http://127.0.0.1:${port}`,
      cluster_addr: `https://127.0.0.1:${cluster}`,
    }
    await writeFile(file, JSON.stringify(settings), { mode: 0o600 })
    const child = spawn(openBaoProgram(), ['server', `-config=${file}`], {
      env: { PATH: process.env.PATH, HOME: folder },
      stdio: 'ignore',
    })
    const ended = once(child, 'exit')
    stack.defer(async () => {
      child.kill('SIGKILL')
      await ended
    })
    nodes.push({ name, address: `http://127.0.0.1:${port}`, process: child })
  }
  const [a] = nodes
  if (a === undefined) throw new Error('There is no node.')
  const begin = { secret_shares: 1, secret_threshold: 1 }
  const { keys, root_token: rootToken } = (await until('a node', () =>
    administer({ address: a.address, rootToken: '' }, 'POST', 'sys/init', begin),
  )) as { keys: string[]; root_token: string }
  const statusOf = async ({ address }: Pick<Node, 'address'>): Promise<number> =>
    (await fetch(`${address}/v1/sys/health`)).status
  // The nodes end together.
  const of = ({ address }: Node): VaultServer => ({ address, rootToken, [Symbol.asyncDispose]: async () => undefined })
  const unseal = async (server: VaultServer): Promise<void> => {
    await until(`the node ${server.address}`, async () => {
      await administer(server, 'POST', 'sys/unseal', { key: keys[0] })
      return [ACTIVE, STANDBY].includes(await statusOf(server)) || undefined
    })
  }
  for (const node of nodes) await unseal(of(node))
  // Only a node that has a vote can take the place of the active one.
  await until('the votes', async () => {
    const { data } = await administer(of(a), 'GET', 'sys/storage/raft/configuration')
    const { servers } = (data as { config: { servers: { voter: boolean }[] } }).config
    return servers.filter(({ voter }) => voter).length === nodes.length || undefined
  })
  const living = (): readonly Node[] => nodes.filter((node) => node.process.exitCode === null && !node.process.killed)
  const first = async (status: number): Promise<Node | undefined> => {
    for (const node of living()) if ((await statusOf(node)) === status) return node
    return undefined
  }
  const owned = stack.move()
  return {
    active: () =>
      until('an active node', async () => {
        const node = await first(ACTIVE)
        if (node === undefined) return undefined
        const end = async (): Promise<void> => {
          const ended = once(node.process, 'exit')
          node.process.kill('SIGKILL')
          await ended
        }
        return { ...of(node), end }
      }),
    standby: () =>
      until('a standby', async () => {
        const node = (await first(ACTIVE)) === undefined ? undefined : await first(STANDBY)
        return node && of(node)
      }),
    unseal,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
