import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../../src/errors.ts'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

const never = (): Promise<never> => new Promise(() => undefined)

function failure(code: ErrorCode, transient = true): PoolsmithError {
  return new PoolsmithError(`failed: ${code}`, { code, phase: 'connect', transient })
}

describe('a refused connect', () => {
  test('is reported at once to all callers if every session in use has been held for long', async (t) => {
    const setup = setUp(t)
    const listener = await setup.pool.acquire().promise
    await setup.clock.advance(5000, 500)
    setup.driver.onOpen = () => {
      throw failure('CONNECT_REFUSED')
    }
    const callers = Array.from({ length: 5 }, () => attempt(setup))
    await settled()
    assert.deepEqual(
      callers.map(({ error, at }) => [error?.code, at]),
      Array(5).fill(['CONNECT_REFUSED', 5000]),
    )
    setup.pool.release(listener)
  })

  test('is reported at once if the sessions in use are dead', async (t) => {
    const setup = setUp(t)
    const held = await setup.pool.acquire().promise
    held.broken = true
    setup.driver.onOpen = () => {
      throw failure('CONNECT_REFUSED')
    }
    const caller = attempt(setup)
    await settled()
    assert.equal(caller.error?.code, 'CONNECT_REFUSED')
  })

  test('is not told while a session that was just taken may come back, and is told when it does not', async (t) => {
    const setup = setUp(t)
    const held = await setup.pool.acquire().promise
    setup.driver.onOpen = () => {
      throw failure('CONNECT_REFUSED')
    }
    const served = attempt(setup)
    const starved = attempt(setup)
    await setup.clock.advance(500)
    assert.deepEqual([served, starved], [{}, {}])
    setup.pool.release(held)
    await settled()
    assert.equal(served.raw, held)
    await setup.clock.advance(3000)
    assert.equal(starved.error?.code, 'CONNECT_REFUSED')
  })
})

describe('a server that asks to be tried again', () => {
  test('is tried after a short pause, also if more callers wait than may log in at once', async (t) => {
    const setup = setUp(t)
    const { driver, clock } = setup
    driver.onOpen = async () => {
      throw failure('SERVER_ROLE_MISMATCH')
    }
    const callers = Array.from({ length: 10 }, () => attempt(setup))
    await settled()
    const { opens } = driver
    assert.equal(opens, 5)
    driver.onOpen = () => undefined
    await clock.advance(100)
    assert.ok(driver.opens > opens)
    assert.ok(callers.every(({ raw, at }) => raw !== undefined && (at ?? 0) <= 100))
  })

  for (const code of ['SERVER_FULL', 'SERVER_NOT_READY', 'SERVER_THROTTLED'] as const) {
    test(`callers wait up to pool_timeout on ${code} also if no session exists yet`, async (t) => {
      const setup = setUp(t, { pool_timeout: 15 })
      let isReady = false
      setup.driver.onOpen = () => {
        if (!isReady) throw failure(code)
      }
      const callers = Array.from({ length: 5 }, () => attempt(setup))
      await setup.clock.advance(10_000)
      assert.deepEqual(callers, Array(5).fill({}))
      assert.ok(setup.driver.opens <= 20, `${setup.driver.opens} attempts in 10 s`)
      isReady = true
      await setup.clock.advance(2000)
      assert.ok(callers.every(({ raw }) => raw !== undefined))
    })
  }

  test('is reported with its own code at pool_timeout', async (t) => {
    const setup = setUp(t, { pool_timeout: 5 })
    setup.driver.onOpen = () => {
      throw failure('SERVER_FULL')
    }
    const caller = attempt(setup)
    await setup.clock.advance(5000)
    assert.deepEqual([caller.error?.code, caller.at], ['SERVER_FULL', 5000])
    assert.match(caller.error?.message ?? '', /^No connection within 5 s \(pool_timeout\): failed: SERVER_FULL$/)
    // A caller that comes later is served by an attempt within a second, however long the server was full.
    setup.driver.onOpen = () => undefined
    const later = attempt(setup)
    await setup.clock.advance(1000)
    assert.notEqual(later.raw, undefined)
  })
})

describe('a time limit', () => {
  test('a caller that waited for a full pool gets that error, not the one of the attempt that began at the end', async (t) => {
    const setup = setUp(t, { pool_size: 1, max_overflow: 0, pool_timeout: 3 })
    const held = await setup.pool.acquire().promise
    const caller = attempt(setup)
    await setup.clock.advance(2950)
    held.broken = true
    setup.driver.onOpen = never
    setup.pool.release(held)
    await setup.clock.advance(50)
    assert.deepEqual([caller.error?.code, caller.at], ['POOL_EXHAUSTED', 3000])
  })

  test('of an attempt is reported to the callers that were there when it began, and later ones get an attempt and their whole time', async (t) => {
    const setup = setUp(t, { pool_size: 5, max_overflow: 0, pool_timeout: 0.6 })
    const answers: (() => void)[] = []
    setup.driver.onOpen = () => new Promise((resolve) => answers.push(resolve))
    const first = attempt(setup)
    await setup.clock.advance(600)
    assert.deepEqual([first.error?.code, first.at], ['CONNECT_TIMEOUT', 600])
    // While attempts hang, one at a time probes.
    const second = attempt(setup)
    await setup.clock.advance(550)
    const late = attempt(setup)
    await setup.clock.advance(100)
    assert.deepEqual([second.error?.code, late.error], ['CONNECT_TIMEOUT', undefined])
    await setup.clock.advance(100)
    answers.at(-1)?.()
    await settled()
    assert.notEqual(late.raw, undefined)
  })

  test('a caller that comes while an attempt hangs begins another one, which serves the callers in their order', async (t) => {
    const setup = setUp(t, { pool_size: 5, max_overflow: 0, pool_timeout: 0.6 })
    setup.driver.onOpen = never
    const first = attempt(setup)
    await setup.clock.advance(550)
    setup.driver.onOpen = () => undefined
    const late = attempt(setup)
    await settled()
    assert.notEqual(first.raw, undefined)
    await setup.clock.advance(200)
    assert.deepEqual([late.raw !== undefined, late.error], [true, undefined])
  })
})

describe('a password that the server refuses', () => {
  const refusing = (): FakeDriver & { password: string; logins: number } => {
    const driver = Object.assign(new FakeDriver(), { password: 'right', logins: 0 })
    driver.onOpen = async (credential) => {
      driver.logins++
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (credential.kind === 'password' && credential.password.reveal() === driver.password) return
      throw new PoolsmithError('refused', { code: 'LOGIN_REFUSED', phase: 'login' })
    }
    return driver
  }

  test('is tried a few times for 20 callers at once, and all of them get the error', async (t) => {
    const driver = refusing()
    const setup = setUp(t, { pool_size: 20 }, { driver, source: new FakeSource(passwordCredential('wrong')) })
    const callers = Array.from({ length: 20 }, () => attempt(setup))
    await setup.clock.advance(100)
    assert.ok(callers.every(({ error }) => error?.code === 'LOGIN_REFUSED'))
    assert.ok(driver.logins <= 5, `${driver.logins} logins`)
  })

  test('is tried a few times for 20 callers at once also when it was right a moment ago', async (t) => {
    const driver = refusing()
    const source = new FakeSource(passwordCredential('right'))
    const setup = setUp(t, { pool_size: 30 }, { driver, source })
    const first = Array.from({ length: 5 }, () => attempt(setup))
    await setup.clock.advance(200)
    assert.ok(first.every(({ raw }) => raw !== undefined))
    driver.password = 'changed'
    driver.logins = 0
    const callers = Array.from({ length: 20 }, () => attempt(setup))
    await setup.clock.advance(2500)
    assert.ok(callers.every(({ error }) => error?.code === 'LOGIN_REFUSED'))
    assert.ok(driver.logins <= 8, `${driver.logins} logins`)
  })

  test('does not slow the opening of 20 sessions by more than one login', async (t) => {
    const driver = refusing()
    const setup = setUp(t, { pool_size: 20 }, { driver, source: new FakeSource(passwordCredential('right')) })
    const callers = Array.from({ length: 20 }, () => attempt(setup))
    await setup.clock.advance(40, 20)
    assert.ok(callers.every(({ raw }) => raw !== undefined))
  })

  test('is not tried again for pool_min_idle until it changes', async (t) => {
    const driver = refusing()
    const source = new FakeSource(passwordCredential('wrong'))
    const setup = setUp(t, { pool_min_idle: 2 }, { driver, source })
    let told = 0
    setup.pool.on('connection:failed', () => told++)
    await setup.clock.advance(60_000, 500)
    assert.equal(driver.logins, 2)
    assert.equal(told, 2)
    source.change(passwordCredential('right'))
    await setup.clock.advance(6000)
    assert.equal(setup.pool.stats().idle, 2)
  })

  test('is tried again for a caller', async (t) => {
    const driver = refusing()
    const setup = setUp(t, { pool_min_idle: 1 }, { driver, source: new FakeSource(passwordCredential('same')) })
    await setup.clock.advance(10_000, 500)
    assert.equal(driver.logins, 1)
    driver.password = 'same'
    const caller = attempt(setup)
    await setup.clock.advance(50)
    assert.notEqual(caller.raw, undefined)
    await setup.clock.advance(6000)
    assert.equal(setup.pool.stats().idle, 1)
  })
})
