/** Kerberos sessions at work, through the engine as users have it: much data, short tickets, silent KDCs. */

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { gssCredential } from '../support/kerberos-postgres.ts'
import { cache, engine, failure, realm, WHO } from '../support/kerberos-sessions.ts'
import { startMiddle } from '../support/middle.ts'
import { driverFor, openingError, openSession, tokenCredential } from '../support/postgres-driver.ts'

test('100,000 rows arrive, and a parameter of megabytes goes both ways', async () => {
  await using db = await engine()
  const { rows } = await db.raw(
    'select i, repeat(md5(i::text), 3) as text, i::numeric / 7 as share from generate_series(1, 100000) i',
  )
  assert.equal(rows.length, 100_000)
  assert.equal(rows[99_999].i, 100_000)
  assert.equal(rows[0].text, 'c4ca4238a0b923820dcc509a6f75849b'.repeat(3))
  const parameter = 'ä€😀x'.repeat(1_000_000)
  const answer = await db.raw('select ?::text as text, octet_length(?::text) as bytes', [parameter, parameter])
  assert.equal(answer.rows[0].bytes, Buffer.byteLength(parameter))
  assert.ok(answer.rows[0].text === parameter, 'the same ten million bytes come back')
})

test('a slow reader holds the server back, and rows do not gather in memory', async () => {
  await using middle = await startMiddle(realm.server.port)
  let passed = 0
  middle.toClient = (chunk) => {
    passed += chunk.length
    return [chunk]
  }
  await using db = await engine({ port: middle.port })
  const stream = db.raw("select repeat('x', 10000) as text from generate_series(1, 4000)").stream({ highWaterMark: 2 })
  let rows = 0
  for await (const _ of stream) {
    rows++
    if (rows === 5) {
      await sleep(500)
      assert.ok(passed < 25e6, `${passed} bytes came for a reader who has taken five rows`)
    }
  }
  assert.equal(rows, 4000)
  assert.ok(passed > 40e6)
})

test('a statement is cancelled over an encrypted connection of its own', async () => {
  await using middle = await startMiddle(realm.server.port)
  const target = { host: 'localhost', port: middle.port, login: 'alice', database: 'postgres' }
  const { driver } = driverFor(target, { gssencmode: 'require', hostaddr: '127.0.0.1' })
  await using session = await openSession(driver, gssCredential(cache, 'alice'))
  const sleeping = session.client.query('select pg_sleep(30)')
  const canceled = assert.rejects(sleeping, { code: '57014' })
  // A request that arrives before its statement cancels nothing.
  const running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'"
  while ((await realm.server.sql(running)) !== '1') await sleep(10)
  await driver.cancel(session.client, AbortSignal.timeout(5000))
  await canceled
  const sent = middle.sent()
  const request = (code: number): Buffer =>
    Buffer.from([code >>> 24, code >>> 16, code >>> 8, code].map((byte) => byte & 0xff))
  assert.equal(middle.accepted(), 2)
  assert.equal(sent.indexOf(request(80877102)), -1, 'no CancelRequest in the open')
  assert.notEqual(sent.indexOf(request(80877104)), sent.lastIndexOf(request(80877104)))
})

test('two pools of one process work at once with two principals', async () => {
  const [alices, bobs] = await Promise.all([realm.kdc.keytab('alice'), realm.kdc.keytab('bob')])
  const extra = (keytab: string) => ({ extra: { keytab, ccache: undefined } })
  await using one = await engine(extra(alices), { pool_size: 5 })
  await using two = await engine(extra(bobs), { pool_size: 5 })
  const seen = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const { rows } = await (index % 2 === 0 ? one : two).raw(WHO)
      return `${index % 2} ${rows[0].who} ${rows[0].principal} ${rows[0].encrypted}`
    }),
  )
  assert.deepEqual([...new Set(seen)].sort(), ['0 alice alice@TEST.REALM true', '1 bob bob@TEST.REALM true'])
})

test('tickets of three seconds are replaced from the keytab while the pool works, and sessions go on', async () => {
  const keytab = await realm.kdc.keytab('brief')
  const extra = { keytab, ccache: undefined, min_ticket_lifetime: 1, pool_recycle: 1 }
  await using db = await engine({ extra })
  const opened: number[] = []
  const ends: number[] = []
  db.pool.on('connection:opened', ({ id }) => opened.push(id))
  await db.transaction(async (held) => {
    const until = Date.now() + 5000
    while (Date.now() < until) {
      const { rows } = await db.raw(WHO)
      assert.equal(rows[0].principal, 'brief@TEST.REALM')
      const info = await db.pool.use((raw) => db.pool.infoOf(raw))
      ends.push(info?.credentialExpiresAt ?? 0)
      await held.raw('select 1')
      await sleep(100)
    }
    // Opened with the first ticket, which ended seconds ago.
    assert.equal((await held.raw(WHO)).rows[0].encrypted, true)
  })
  assert.ok(opened.length >= 4, `${opened.length} connections were opened`)
  assert.ok(new Set(ends).size >= 2, 'more than one ticket was used')
})

test('when the ticket in the cache expires the pool reports it, and then uses the new one', async () => {
  const brief = await realm.ticket('brief', 'brief')
  const extra = { ccache: brief, min_ticket_lifetime: 0 }
  await using db = await engine({ extra }, { pool_size: 1, pool_recycle: 1 })
  await db.raw('select 1')
  await sleep(3200)
  const error = await failure(db.raw('select 1'))
  assert.equal(error.code, 'TICKET_EXPIRED')
  assert.match(`${error.message} ${error.hint}`, /brief@TEST\.REALM.*FILE:.*kinit/)
  await realm.ticket('brief', 'brief')
  const until = Date.now() + 8000
  for (;;) {
    try {
      assert.equal((await db.raw(WHO)).rows[0].who, 'brief')
      break
    } catch (cause) {
      if (Date.now() > until) throw cause
      await sleep(100)
      if (cause instanceof PoolsmithError && cause.code === 'TICKET_EXPIRED') await realm.ticket('brief', 'brief')
    }
  }
})

test('with a stopped KDC a ticket for the server still works, and a caller without one gets the error', async () => {
  const fresh = await realm.ticket('alice', 'fresh')
  await using before = await engine()
  await before.raw('select 1')
  await realm.kdc.stop()
  try {
    await using going = await engine()
    assert.equal((await going.raw(WHO)).rows[0].who, 'alice')
    await using stuck = await engine({ extra: { ccache: fresh } })
    const error = await failure(stuck.raw('select 1'))
    assert.equal(error.code, 'KDC_UNREACHABLE')
    assert.equal(error.phase, 'gss')
    for (const fact of ['postgres@localhost', 'alice@TEST.REALM', fresh]) {
      assert.ok(JSON.stringify(error).includes(fact), `${fact} must be told`)
    }
    assert.ok(error.message.includes(`127.0.0.1:${realm.kdc.port}`))
  } finally {
    await realm.kdc.start()
  }
})

test('with a frozen KDC the error comes within connect_timeout and names it, and nothing is left open', async () => {
  const fresh = await realm.ticket('alice', 'frozen')
  await using middle = await startMiddle(realm.server.port)
  realm.kdc.freeze()
  try {
    await using db = await engine({ port: middle.port, extra: { ccache: fresh, connect_timeout: 1 } }, { pool_size: 4 })
    const begin = Date.now()
    const errors = await Promise.all(Array.from({ length: 4 }, () => failure(db.raw('select 1'))))
    assert.ok(Date.now() - begin < 15_000)
    for (const error of errors) {
      assert.equal(error.code, 'KDC_TIMEOUT')
      assert.equal(error.phase, 'gss')
      assert.ok(error.message.includes(`127.0.0.1:${realm.kdc.port}`), error.message)
    }
    // The pool may be probing still. What is abandoned in the library must not come to life later.
    const busy = (): boolean => middle.open() > 0 || db.pool.stats().opening > 0
    for (let waited = 0; busy() && waited < 10_000; waited += 20) await sleep(20)
    assert.equal(busy(), false)
    const accepted = middle.accepted()
    realm.kdc.thaw()
    await sleep(1500)
    assert.equal(middle.accepted(), accepted, 'no connection is opened for somebody who was told that it failed')
    await using patient = await engine({ port: middle.port, extra: { ccache: fresh } })
    assert.equal((await patient.raw(WHO)).rows[0].who, 'alice')
  } finally {
    realm.kdc.thaw()
  }
})

test('a frozen KDC does not hold up a pool that has its ticket for the server', async () => {
  const fresh = await realm.ticket('alice', 'waiting')
  await using going = await engine({}, { pool_size: 10 })
  await going.raw(WHO)
  await using stuck = await engine({ extra: { ccache: fresh, connect_timeout: 25 } }, { pool_timeout: 25 })
  realm.kdc.freeze()
  try {
    let over = false
    const waiting = failure(stuck.raw('select 1')).finally(() => {
      over = true
    })
    await sleep(100)
    const answers = await Promise.all(Array.from({ length: 10 }, () => going.raw('select pg_sleep(0.4)')))
    assert.equal(answers.length, 10)
    assert.equal(over, false, 'nobody waited for the one who waits for the KDC')
    await stuck.destroy()
    assert.equal((await waiting).code, 'POOL_CLOSED')
  } finally {
    realm.kdc.thaw()
  }
})

test('after the server got new keys old tickets are refused with the reason, and new ones accepted', async () => {
  const old = await realm.ticket('alice', 'before')
  await using first = await engine({ extra: { ccache: old } })
  await first.raw('select 1')
  await realm.kdc.changeKeys('postgres/localhost')
  const original = await realm.server.sql('show krb_server_keyfile')
  await realm.serveKeytab(await realm.kdc.keytab('postgres/localhost'))
  await using second = await engine({ extra: { ccache: old } })
  const error = await failure(second.raw('select 1'))
  assert.equal(error.code, 'GSS_SERVER_REFUSED')
  assert.match(error.hint ?? '', /log/)
  const renewed = await realm.ticket('alice', 'after')
  await using third = await engine({ extra: { ccache: renewed } })
  assert.equal((await third.raw(WHO)).rows[0].who, 'alice')
  // The session that stood goes on.
  assert.equal((await first.raw(WHO)).rows[0].encrypted, true)
  await realm.ticket('alice', 'alice')
  await rm(original)
})

test('a principal that may not use the role is refused with both names', async () => {
  const target = { host: 'localhost', port: realm.server.port, login: 'bob', database: 'postgres' }
  for (const gssencmode of ['require', 'disable']) {
    const { driver } = driverFor(target, { gssencmode, hostaddr: '127.0.0.1' })
    const error = await openingError(driver, gssCredential(cache, 'bob'))
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.match(error.hint ?? '', /pg_ident\.conf/)
  }
})

test('for an unknown host or an address the error names the principal that the KDC was asked for', async () => {
  for (const host of ['127.0.0.1', 'db.test']) {
    await using db = await engine({ host })
    const error = await failure(db.raw('select 1'))
    assert.equal(error.code, 'SPN_UNKNOWN')
    assert.ok(error.message.includes(`postgres/${host}@TEST.REALM`), error.message)
    await using named = await engine({ host, extra: { krbspn: 'postgres/localhost@TEST.REALM' } })
    assert.equal((await named.raw(WHO)).rows[0].encrypted, true)
  }
})

test('a Unix socket is never encrypted: prefer goes on, require is refused', async () => {
  const target = { host: realm.server.socketDirectory, port: realm.server.port, login: 'alice', database: 'postgres' }
  const { driver, events } = driverFor(target, { gssencmode: 'prefer' })
  await using session = await openSession(driver, gssCredential(cache, 'alice'))
  assert.equal(driver.info(session.client).encryption.kind, 'none')
  assert.deepEqual(events, [])
  assert.throws(() => driverFor(target, { gssencmode: 'require' }), { code: 'CONFIG_INVALID', message: /gssencmode/ })
})

test('require_auth=gss accepts an encrypted session and a login by ticket, and refuses a password', async () => {
  const target = { host: 'localhost', port: realm.server.port, login: 'alice', database: 'postgres' }
  for (const gssencmode of ['require', 'disable']) {
    const { driver } = driverFor(target, { gssencmode, require_auth: 'gss', hostaddr: '127.0.0.1' })
    await using session = await openSession(driver, gssCredential(cache, 'alice'))
    assert.equal(driver.info(session.client).authentication, 'gss')
    const { driver: strict } = driverFor(target, { gssencmode, require_auth: 'scram-sha-256', hostaddr: '127.0.0.1' })
    assert.equal((await openingError(strict, gssCredential(cache, 'alice'))).code, 'AUTH_METHOD_REFUSED')
  }
})

test('a forwardable ticket is delegated when that was asked for', async () => {
  const forwardable = `FILE:${realm.kdc.path('forwardable')}`
  await realm.kdc.kinit('alice', forwardable, { keytab: await realm.kdc.keytab('alice'), forwardable: true })
  const target = { host: 'localhost', port: realm.server.port, login: 'alice', database: 'postgres' }
  for (const gssencmode of ['require', 'disable']) {
    for (const gssdelegation of ['1', '0']) {
      const { driver } = driverFor(target, { gssencmode, gssdelegation, hostaddr: '127.0.0.1' })
      await using session = await openSession(driver, gssCredential(forwardable, 'alice'))
      assert.equal(driver.info(session.client).kerberos?.delegated, gssdelegation === '1')
    }
  }
})

test('a token is sent under GSSAPI encryption, and never in the clear', async () => {
  process.env.KRB5CCNAME = cache
  const target = { host: 'localhost', port: realm.server.port, login: 'alice', database: 'postgres' }
  const { driver } = driverFor(target, { gssencmode: 'prefer', sslmode: 'disable', hostaddr: '127.0.0.1' })
  await using session = await openSession(driver, tokenCredential('t'))
  assert.equal(driver.info(session.client).encryption.kind, 'gss')
  process.env.KRB5CCNAME = 'FILE:/nonexistent'
  assert.match((await openingError(driver, tokenCredential('t'))).code, /^TICKET_/)
  delete process.env.KRB5CCNAME
})

/** Damage begins when the session has been working for a while. */
