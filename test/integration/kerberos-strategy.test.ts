import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GssCredential } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { openCredential } from '../../src/kerberos/ensure-ticket.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { strategies } from '../../src/strategies/index.ts'
import { kerberos } from '../../src/strategies/kerberos.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { build, problemPaths } from '../unit/strategies/context.ts'

let kdc: Kdc
let keytab: string
const environment = process.env as Record<string, string>

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  for (const name of ['alice', 'bob', 'postgres/localhost']) await kdc.addPrincipal(name)
  await kdc.addPrincipal('shortlived', { maxLife: '4 seconds' })
  keytab = await kdc.keytab('alice')
})
after(() => kdc[Symbol.asyncDispose]())

type Extra = Readonly<Record<string, unknown>>

async function credentialOf(extra: Extra, connection: { login?: string } = {}): Promise<GssCredential> {
  const { source } = await build(kerberos, connection, extra, { environment })
  try {
    const credential = await source.get()
    assert.equal(credential.kind, 'gss')
    return credential as GssCredential
  } finally {
    source.close()
  }
}

test('the strategy serves both databases, also by its aliases', () => {
  for (const dialect of ['postgres', 'mssql'] as const) {
    for (const name of ['kerberos', 'gss', 'gssapi']) assert.equal(strategies.select(dialect, name), kerberos)
  }
})

// Most of their time is waiting for tickets to end.
suite('from the ticket to the credential', { concurrency: true }, () => {
  test('the user comes from the ticket in the cache, never from the system', async () => {
    const cache = `FILE:${kdc.path('present')}`
    const ticket = await refreshTicket({ by: 'keytab', keytab, cache })
    const credential = await credentialOf({ ccache: cache })
    assert.deepEqual(
      { ...credential },
      {
        kind: 'gss',
        identity: 'alice@TEST.REALM',
        user: 'alice',
        principal: 'alice@TEST.REALM',
        cache,
        minimumLifetimeSeconds: 30,
        issuedAt: ticket.startsAt,
        expiresAt: ticket.expiresAt,
      },
    )
    assert.equal((await credentialOf({ ccache: kdc.path('present') })).user, 'alice')
  })

  test('a login in the connection is kept; a realm can have a suffix', async () => {
    const cache = `FILE:${kdc.path('names')}`
    await refreshTicket({ by: 'keytab', keytab, cache })
    assert.equal((await credentialOf({ ccache: cache }, { login: 'reporting' })).user, 'reporting')
    assert.equal((await credentialOf({ ccache: cache, realm_suffixes: 'TEST.REALM=@corp' })).user, 'alice@corp')
    assert.equal((await credentialOf({ ccache: cache, realm_suffixes: ['OTHER=@o'] })).user, 'alice')
    const paths = await problemPaths(
      build(kerberos, {}, { ccache: cache, realm_suffixes: 'nonsense' }, { environment }),
    )
    assert.deepEqual(paths, ['extra.realm_suffixes'])
  })

  test('a missing ticket, an expired one and one that expires soon have different errors', async () => {
    await assert.rejects(credentialOf({}), { code: 'TICKET_MISSING' })
    await assert.rejects(credentialOf({ ccache: `FILE:${kdc.path('none')}` }), { code: 'TICKET_CACHE_MISSING' })
    const cache = `FILE:${kdc.path('short')}`
    const short = await kdc.keytab('shortlived')
    await refreshTicket({ by: 'keytab', keytab: short, cache })
    await assert.rejects(credentialOf({ ccache: cache }), { code: 'TICKET_EXPIRES_SOON' })
    assert.equal((await credentialOf({ ccache: cache, min_ticket_lifetime: 0 })).user, 'shortlived')
    await sleep(4100)
    await assert.rejects(credentialOf({ ccache: cache, min_ticket_lifetime: 0 }), { code: 'TICKET_EXPIRED' })
  })

  test('pools with different principals and keytabs work in one process at once', async () => {
    const bobs = await kdc.keytab('bob')
    const both = await kdc.keytab('alice', 'bob')
    const before = JSON.stringify(process.env)
    const extras = [
      { keytab },
      { keytab: bobs },
      { keytab: both, principal: 'bob' },
      { keytab: both, principal: 'alice@TEST.REALM' },
    ]
    const pools = await Promise.all(extras.map((extra) => build(kerberos, {}, extra, { environment })))
    const gss = await loadGssApi()
    const server = await kdc.keytab('postgres/localhost')
    const seen = await Promise.all(
      pools.map(async ({ source }) => {
        const credential = (await source.get()) as GssCredential
        assert.match(credential.cache ?? '', /^MEMORY:poolsmith-/)
        using opened = await openCredential(gss, credential)
        const target = { service: 'postgres', host: 'localhost' }
        using context = gss.initContext({ target, flags: [], credential: opened.handle })
        const { token } = await context.step()
        assert.ok(token)
        const acceptor = gssAcceptor(server)
        const { principal } = await acceptor.step(token)
        acceptor.close()
        return `${credential.user} ${principal}`
      }),
    )
    const [alice, bob] = ['alice alice@TEST.REALM', 'bob bob@TEST.REALM']
    assert.deepEqual(seen, [alice, bob, bob, alice])
    assert.equal(JSON.stringify(process.env), before)

    const caches = pools.map(({ source }) => (source.current() as GssCredential).cache)
    assert.equal(new Set(caches).size, 4)
    for (const { source } of pools) source.close()
    // The pool's own tickets are gone with it.
    for (const cache of caches) {
      for (let attempt = 0; ; attempt++) {
        const error = await verifyTicket({ cache }).catch((thrown: unknown) => thrown)
        if (error instanceof PoolsmithError && error.code === 'TICKET_CACHE_MISSING') break
        assert.ok(attempt < 100, `${cache} is still there`)
        await sleep(10)
      }
    }
  })

  test('with a keytab a ticket of four seconds is always replaced before its end', async () => {
    const short = await kdc.keytab('shortlived')
    const { source, events } = await build(kerberos, {}, { keytab: short, min_ticket_lifetime: 0 }, { environment })
    const ends = new Set<number | undefined>()
    const end = Date.now() + 7000
    while (Date.now() < end) {
      const credential = source.current() ?? (await source.get())
      ends.add(credential.expiresAt)
      await verifyTicket({ cache: (credential as GssCredential).cache, principal: 'shortlived' })
      await sleep(20)
    }
    source.close()
    assert.ok(ends.size >= 3, `${ends.size} tickets`)
    assert.equal(events.filter(({ name }) => name === 'credential:failed').length, 0)
  })

  test('a cache that gets another principal under a pool is an error, not another user', async () => {
    const cache = `FILE:${kdc.path('changing')}`
    await refreshTicket({ by: 'keytab', keytab, cache })
    const { source } = await build(kerberos, {}, { ccache: cache }, { environment })
    const credential = (await source.get()) as GssCredential
    await kdc.kinit('bob', cache, { keytab: await kdc.keytab('bob') })
    // Each new connection looks again, also while the source still has its credential.
    const gss = await loadGssApi()
    const mismatch = { code: 'TICKET_PRINCIPAL_MISMATCH', message: /bob@TEST\.REALM, not to alice@TEST\.REALM/ }
    await assert.rejects(openCredential(gss, credential), mismatch)
    source.reject(credential)
    await assert.rejects(source.get(), mismatch)
    source.close()
  })

  test('a kinit by another program is noticed', async () => {
    const cache = `FILE:${kdc.path('renewed')}`
    const short = await kdc.keytab('shortlived')
    await refreshTicket({ by: 'keytab', keytab: short, cache })
    const { source } = await build(kerberos, {}, { ccache: cache, min_ticket_lifetime: 0 }, { environment })
    const first = await source.get()
    await sleep(1100)
    await kdc.kinit('shortlived', cache, { keytab: short })
    await sleep(Math.max(0, (first.expiresAt ?? 0) - Date.now()) + 50)
    const next = await source.get()
    assert.ok((next.expiresAt ?? 0) > (first.expiresAt ?? 0))
    source.close()
  })
})
