import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { kdcCalls } from '../../src/kerberos/call-queue.ts'
import { diagnose } from '../../src/kerberos/diagnose.ts'
import { ensureTicket } from '../../src/kerberos/ensure-ticket.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { callsInFlight } from '../../src/kerberos/native/load.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'

const TARGET = { service: 'postgres', host: 'localhost' }

async function realm(t: TestContext, options: Parameters<typeof startKdc>[0] = {}): Promise<Kdc> {
  const kdc = await startKdc(options)
  t.after(() => kdc[Symbol.asyncDispose]())
  enterRealm(kdc)
  await kdc.addPrincipal('alice', { password: 'a' })
  await kdc.addPrincipal('postgres/localhost')
  return kdc
}

function isError(code: string, message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof PoolsmithError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }
}

test('a stopped KDC is reported at once with its address, and works again once it is back', async (t) => {
  const kdc = await realm(t)
  const keytab = await kdc.keytab('alice')
  const cache = `FILE:${kdc.path('cc')}`
  const policy = { principal: 'alice@TEST.REALM', keytab, cache }
  await kdc.stop()
  const unreachable = isError('KDC_UNREACHABLE', new RegExp(`TEST\\.REALM \\(127\\.0\\.0\\.1:${kdc.port}\\)`))
  await assert.rejects(ensureTicket(policy), unreachable)
  await kdc.start()
  assert.equal((await ensureTicket(policy)).principal, 'alice@TEST.REALM')

  await kdc.stop()
  const gss = await loadGssApi()
  using credential = await gss.acquireCredential({ principal: 'alice@TEST.REALM', cache })
  using context = gss.initContext({ target: TARGET, flags: [], credential })
  await assert.rejects(context.step(), unreachable)
  // A good ticket needs no KDC.
  assert.equal((await ensureTicket(policy)).principal, 'alice@TEST.REALM')
})

test('with a frozen KDC callers leave in time, the event loop and fs go on, and another realm works', async (t) => {
  const kdc = await realm(t)
  const other = await startKdc({ realm: 'OTHER.REALM' })
  t.after(() => other[Symbol.asyncDispose]())
  await kdc.configure([], { 'OTHER.REALM': other.port })
  await other.addPrincipal('carol', { password: 'c' })
  const carols = await other.keytab('carol')
  const cache = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', cache, { password: 'a' })
  const gss = await loadGssApi()
  using credential = await gss.acquireCredential({ principal: 'alice@TEST.REALM', cache })
  // The first native calls of a process load plug-ins; that is not what is measured.
  using first = gss.initContext({ target: { service: 'nobody', host: 'localhost' }, flags: [], credential })
  await first.step().catch(() => undefined)
  kdc.freeze()

  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  const since = performance.now()
  const eight = Array.from({ length: 8 }, async () => {
    using context = gss.initContext({ target: TARGET, flags: [], credential })
    await assert.rejects(context.step(undefined, { signal: AbortSignal.timeout(1000) }), (error: unknown) => {
      isError('KDC_TIMEOUT', /TEST\.REALM \(127\.0\.0\.1:\d+\) answered in time/)(error)
      return true
    })
  })
  let reads = 0
  let slowestRead = 0
  while (performance.now() - since < 900) {
    const begin = performance.now()
    await readFile('/etc/hostname')
    slowestRead = Math.max(slowestRead, performance.now() - begin)
    reads++
    await sleep(1)
  }
  const carol = await ensureTicket({
    principal: 'carol@OTHER.REALM',
    keytab: carols,
    cache: `FILE:${kdc.path('carol')}`,
  })
  assert.equal(carol.principal, 'carol@OTHER.REALM')
  await Promise.all(eight)
  const waited = performance.now() - since
  delays.disable()

  assert.ok(waited < 5000, `${waited} ms`)
  assert.ok(reads > 3, `${reads} reads`)
  // krb5 waits for a second at the least: a pool that it filled would have held a read for so long, and a call on this
  // thread the event loop.
  assert.ok(slowestRead < 900, `${slowestRead} ms`)
  assert.ok(delays.max / 1e6 < 900, `${delays.max / 1e6} ms`)
  assert.equal(kdcCalls.size, 1, 'eight callers, one call')
  assert.equal(callsInFlight(), 0, 'no thread of this process waits')

  kdc.thaw()
  using again = gss.initContext({ target: TARGET, flags: [], credential })
  assert.ok((await again.step(undefined, { signal: AbortSignal.timeout(40_000) })).token)
})

test('no KDC is asked for a caller that has left before its turn', async (t) => {
  const kdc = await realm(t)
  const keytab = await kdc.keytab('alice')
  const policy = { principal: 'alice@TEST.REALM', keytab }
  kdc.freeze()
  const names = ['one', 'two', 'three']
  const left = names.map((name) =>
    assert.rejects(
      ensureTicket({ ...policy, cache: `MEMORY:left-${name}` }, { signal: AbortSignal.timeout(300) }),
      isError('KDC_TIMEOUT', /answered in time/),
    ),
  )
  await Promise.all(left)
  kdc.thaw()
  // Behind them all.
  await ensureTicket({ ...policy, cache: 'MEMORY:stayed' }, { signal: AbortSignal.timeout(40_000) })
  const got = await Promise.allSettled(names.map((name) => verifyTicket({ cache: `MEMORY:left-${name}` })))
  const states = got.map(({ status }) => status)
  assert.deepEqual(states, ['fulfilled', 'rejected', 'rejected'], 'the first had asked already')
})

test('the error of a caller behind a silent KDC names the call that it waited for', async (t) => {
  const kdc = await realm(t)
  const keytab = await kdc.keytab('alice')
  const cache = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', cache, { password: 'a' })
  const gss = await loadGssApi()
  using credential = await gss.acquireCredential({ principal: 'alice@TEST.REALM', cache })
  kdc.freeze()
  using one = gss.initContext({ target: TARGET, flags: [], credential })
  using two = gss.initContext({ target: TARGET, flags: [], credential })
  const signal = AbortSignal.timeout(500)
  const [first, second, third] = await Promise.allSettled([
    one.step(undefined, { signal }),
    two.step(undefined, { signal }),
    ensureTicket({ principal: 'alice@TEST.REALM', keytab, cache: `FILE:${kdc.path('new')}` }, { signal }),
  ])
  const message = (result: PromiseSettledResult<unknown>): string =>
    result.status === 'rejected' && result.reason instanceof PoolsmithError ? result.reason.message : 'fulfilled'
  assert.match(message(first), /We waited \d\.\d s for a ticket for postgres@localhost\./)
  assert.match(message(second), /for our turn .*without an answer are a ticket for postgres@localhost \(TEST\.REALM\)/)
  assert.match(message(third), /We waited \d\.\d s for a new ticket of alice@TEST\.REALM/)
  await assert.rejects(two.step(undefined, { signal: AbortSignal.abort() }), { code: 'ABORTED' })
  kdc.thaw()
})

test('a check of Kerberos ends when its signal aborts', async (t) => {
  const kdc = await realm(t)
  const cache = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', cache, { password: 'a' })
  kdc.freeze()
  for (const signal of [AbortSignal.timeout(200), AbortSignal.abort()]) {
    const begin = performance.now()
    await assert.rejects(diagnose({ target: TARGET, host: 'localhost', cache, signal }), { code: 'ABORTED' })
    assert.ok(performance.now() - begin < 2500)
  }
  kdc.thaw()
})

test('after a KDC was replaced its old tickets are refused, and a new keytab works', async (t) => {
  const old = await realm(t)
  const cache = `FILE:${old.path('cc')}`
  await old.kinit('alice', cache, { password: 'a' })
  const oldKeytab = await old.keytab('alice')
  await old.stop()
  const fresh = await startKdc({ port: old.port })
  t.after(() => fresh[Symbol.asyncDispose]())
  await fresh.addPrincipal('alice')
  await fresh.addPrincipal('postgres/localhost')

  const gss = await loadGssApi()
  using credential = await gss.acquireCredential({ principal: 'alice@TEST.REALM', cache })
  using context = gss.initContext({ target: TARGET, flags: [], credential })
  await assert.rejects(context.step(), isError('TICKET_REFUSED', /alice@TEST\.REALM .*postgres@localhost/))
  const refused = { principal: 'alice@TEST.REALM', keytab: oldKeytab, cache: `FILE:${old.path('cc2')}` }
  await assert.rejects(ensureTicket(refused), isError('KEYTAB_REFUSED', /alice@TEST\.REALM/))
  const keytab = await fresh.keytab('alice')
  assert.ok(await ensureTicket({ ...refused, keytab }))
})

for (const minutes of [-10, 10]) {
  test(`a clock of the KDC that is ${minutes} minutes ahead is corrected for, or reported`, async (t) => {
    const kdc = await realm(t, { clockOffsetSeconds: minutes * 60 })
    await kdc.addPrincipal('careful', { arguments: ['+requires_preauth'] })
    const keytab = await kdc.keytab('alice', 'careful')
    const gss = await loadGssApi()
    const login = async (name: string): Promise<unknown> => {
      const cache = `FILE:${kdc.path(name)}`
      const ticket = await ensureTicket({ principal: `${name}@TEST.REALM`, keytab, cache })
      using credential = await gss.acquireCredential({ principal: ticket.principal, cache })
      using context = gss.initContext({ target: TARGET, flags: [], credential })
      await context.step()
      return ticket
    }
    // krb5 notes the difference and corrects for it; the ticket's times are told by our own clock.
    for (const name of ['alice', 'careful']) {
      await login(name)
      const ticket = await ensureTicket({ cache: `FILE:${kdc.path(name)}` })
      assert.ok(Math.abs(ticket.startsAt - Date.now()) < 60_000, new Date(ticket.startsAt).toISOString())
      assert.ok(Math.abs(ticket.clockOffsetMillis - minutes * 60_000) < 60_000, String(ticket.clockOffsetMillis))
      await rm(kdc.path(name))
    }
    // Where it is told not to, it is an error that says so.
    await kdc.configure(['kdc_timesync = 0'])
    for (const name of ['alice', 'careful']) {
      await assert.rejects(login(name), isError('CLOCK_SKEW', /TEST\.REALM \(127\.0\.0\.1:\d+\)/))
    }
  })
}
