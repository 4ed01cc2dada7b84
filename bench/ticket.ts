/** The cost of reading a ticket, compared with spawning `klist -s`, and how long a silent KDC blocks the event loop. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GssApi } from '../src/kerberos/gss-api.ts'
import { loadGssApi } from '../src/kerberos/load-gss-api.ts'
import { verifyTicket } from '../src/kerberos/ticket.ts'
import { enterRealm, type Kdc, startKdc } from '../test/support/kdc.ts'
import { compare, median, type Result } from './measure.ts'

const ROUNDS = 15
const PRINCIPAL = 'alice@TEST.REALM'

export async function run(): Promise<Result[]> {
  await using kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('alice', { password: 'a' })
  const cache = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', cache, { password: 'a' })
  return [await verification(cache), await silence(kdc, cache)]
}

function verification(cache: string): Promise<Result> {
  return compare({
    name: 'one verification against spawning klist -s',
    unit: 'us',
    bound: 1 / 20,
    rounds: ROUNDS,
    ours: () => micros(200, () => verifyTicket({ cache, principal: PRINCIPAL })),
    peer: () => micros(10, () => klist(cache)),
  })
}

async function micros(count: number, work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  for (let index = 0; index < count; index++) await work()
  return ((performance.now() - begin) / count) * 1000
}

async function klist(cache: string): Promise<void> {
  const [code] = await once(spawn('klist', ['-s', '-c', cache], { stdio: 'ignore' }), 'close')
  if (code !== 0) throw new Error(`klist ended with ${code}`)
}

/** Eight logins wait for a frozen KDC, and nothing else happens in the process. */
async function silence(kdc: Kdc, cache: string): Promise<Result> {
  const gss = await loadGssApi()
  const held: number[] = []
  for (let round = 0; round < 3; round++) held.push(await heldMillis(gss, kdc, cache))
  const ours = Number(median(held).toPrecision(4))
  return {
    name: 'event loop held while a KDC does not answer',
    ours,
    peer: 20,
    unit: 'ms',
    ratio: Number((ours / 20).toPrecision(4)),
    bound: 1,
    met: ours < 20,
  }
}

async function heldMillis(gss: GssApi, kdc: Kdc, cache: string): Promise<number> {
  using credential = await gss.acquireCredential({ principal: PRINCIPAL, cache })
  kdc.freeze()
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  const logins = Array.from({ length: 8 }, async () => {
    using context = gss.initContext({ target: { service: 'postgres', host: 'localhost' }, flags: [], credential })
    await context.step(undefined, { signal: AbortSignal.timeout(1000) }).catch(() => undefined)
  })
  await Promise.all(logins)
  delays.disable()
  kdc.thaw()
  // The abandoned call ends now, and frees its place.
  await sleep(1500)
  return delays.max / 1e6
}
