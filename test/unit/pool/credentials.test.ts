import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { attempt, setUp } from './set-up.ts'

/** A driver whose server knows one password. */
function serverWith(password: string): FakeDriver & { password: string; logins: string[] } {
  const driver = Object.assign(new FakeDriver(), { password, logins: [] as string[] })
  driver.onOpen = (credential: Credential) => {
    const given = credential.kind === 'password' ? credential.password.reveal() : ''
    driver.logins.push(given)
    if (given !== driver.password) {
      throw new PoolsmithError('password authentication failed', { code: 'LOGIN_REFUSED', phase: 'login' })
    }
  }
  return driver
}

test('a login refused with a cached credential is tried once more with a fresh one', async (t) => {
  const driver = serverWith('new')
  const source = new FakeSource(passwordCredential('old'))
  source.canReplace = true
  source.onGet = async () => passwordCredential('new')
  const setup = setUp(t, {}, { driver, source })
  assert.equal((await setup.pool.acquire().promise).id, 1)
  assert.deepEqual(driver.logins, ['old', 'new'])
})

test('a fixed password that is refused is not tried again', async (t) => {
  const driver = serverWith('right')
  const setup = setUp(t, {}, { driver, source: new FakeSource(passwordCredential('wrong')) })
  await assert.rejects(setup.pool.acquire().promise, { code: 'LOGIN_REFUSED' })
  assert.deepEqual(driver.logins, ['wrong'])
})

test('a store that lags behind the server is asked again, and the server gets no password twice', async (t) => {
  const driver = serverWith('new')
  const source = new FakeSource(passwordCredential('old'))
  source.canReplace = true
  let fetches = 0
  source.onGet = async () => passwordCredential(++fetches < 3 ? 'old' : 'new')
  const setup = setUp(t, {}, { driver, source })
  const outcome = attempt(setup)
  await setup.clock.advance(1000)
  assert.equal(outcome.raw?.id, 1)
  assert.deepEqual(driver.logins, ['old', 'new'])
})

test('the refusal is reported if the store keeps the refused password', async (t) => {
  const driver = serverWith('new')
  const source = new FakeSource(passwordCredential('old'))
  source.canReplace = true
  source.onGet = async () => passwordCredential('old')
  const setup = setUp(t, {}, { driver, source })
  const outcome = attempt(setup)
  await setup.clock.advance(1000)
  assert.equal(outcome.error?.code, 'LOGIN_REFUSED')
  assert.deepEqual(driver.logins, ['old'])
})

test('the second try is within the same time limit', async (t) => {
  const driver = serverWith('new')
  const source = new FakeSource(passwordCredential('old'))
  source.canReplace = true
  source.onGet = () => new Promise(() => undefined)
  const setup = setUp(t, { pool_timeout: 2 }, { driver, source })
  const outcome = attempt(setup)
  await setup.clock.advance(2000)
  assert.deepEqual([outcome.error?.code, outcome.at], ['CREDENTIAL_TIMEOUT', 2000])
})

test('an idle session is handed out although the credential has expired: the server checked it at login', async (t) => {
  const source = new FakeSource()
  const setup = setUp(t, {}, { source })
  await setup.pool.use(() => undefined)
  source.credential = undefined
  source.onGet = () => new Promise(() => undefined)
  assert.equal(await setup.pool.use((raw) => raw.id), 1)
})
