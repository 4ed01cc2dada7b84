import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { describe, test } from 'node:test'
import { LimitExceeded, nextPoll, onAbort, orAbort, pause, TimeLimit, within } from '../../src/abort.ts'
import { settled } from '../support/held-clock.ts'
import { socketPair } from '../support/socket-pair.ts'
import { stall } from '../support/stall.ts'

/** The unhandled rejections that come up while `run` runs and in the turns after it. */
async function unhandled(run: () => Promise<void>): Promise<unknown[]> {
  const seen: unknown[] = []
  const listen = (reason: unknown): void => {
    seen.push(reason)
  }
  process.on('unhandledRejection', listen)
  try {
    await run()
    await new Promise((resolve) => setTimeout(resolve, 10))
  } finally {
    process.off('unhandledRejection', listen)
  }
  return seen
}

describe('onAbort', () => {
  test('takes a signal of another realm, and refuses anything else', () => {
    const listeners: (() => void)[] = []
    const signal = {
      aborted: false,
      addEventListener: (_: string, listener: () => void) => listeners.push(listener),
      removeEventListener: () => undefined,
    }
    let calls = 0
    onAbort(signal as never, () => calls++)
    for (const listener of listeners) listener()
    assert.equal(calls, 1)
    assert.throws(() => onAbort(new AbortController() as never, () => calls++), { code: 'CONFIG_INVALID' })
  })

  test('calls the listener once when the signal aborts', () => {
    const controller = new AbortController()
    let calls = 0
    onAbort(controller.signal, () => calls++)
    controller.abort()
    controller.abort()
    assert.equal(calls, 1)
  })

  test('calls the listener before it returns when the signal has aborted already', () => {
    let calls = 0
    onAbort(AbortSignal.abort(), () => calls++)
    assert.equal(calls, 1)
  })

  test('does not call a listener that was disposed of, not even by another listener of the same signal', () => {
    const controller = new AbortController()
    const called: string[] = []
    const early = onAbort(controller.signal, () => called.push('early'))
    onAbort(controller.signal, () => {
      called.push('first')
      later[Symbol.dispose]()
    })
    const later = onAbort(controller.signal, () => called.push('later'))
    early[Symbol.dispose]()
    controller.abort()
    assert.deepEqual(called, ['first'])
  })

  test('leaves no listener on the signal, and keeps one for all', () => {
    const { signal } = new AbortController()
    const all = Array.from({ length: 100 }, () => onAbort(signal, () => undefined))
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    for (const one of all) one[Symbol.dispose]()
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    const controller = new AbortController()
    let calls = 0
    onAbort(controller.signal, () => undefined)[Symbol.dispose]()
    onAbort(controller.signal, () => calls++)
    controller.abort()
    assert.equal(calls, 1, 'a listener that comes after the last one left')
  })
})

describe('orAbort', () => {
  test('gives the result or the rejection of the work', async () => {
    const { signal } = new AbortController()
    assert.equal(await orAbort(Promise.resolve(1), signal), 1)
    await assert.rejects(orAbort(Promise.reject(new Error('own')), signal), /own/)
    assert.equal(await orAbort(Promise.resolve(2), undefined), 2)
    assert.equal(getEventListeners(signal, 'abort').length, 0)
  })

  test('rejects with the reason as soon as the signal aborts, and discards what comes later', async () => {
    const controller = new AbortController()
    const work = Promise.withResolvers<string>()
    const discarded: string[] = []
    const waiting = orAbort(work.promise, controller.signal, (late) => discarded.push(late))
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    work.resolve('late')
    await settled()
    assert.deepEqual(discarded, ['late'])
  })

  for (const [name, signalOf] of [
    ['a signal that has aborted already', () => AbortSignal.abort(new Error('enough'))],
    ['a signal that aborts while the work goes on', () => AbortSignal.timeout(1)],
  ] as const) {
    test(`${name}: a late rejection of the work is not an unhandled one`, async () => {
      const seen = await unhandled(async () => {
        const work = Promise.withResolvers<never>()
        await assert.rejects(orAbort(work.promise, signalOf()))
        work.reject(new Error('late'))
      })
      assert.deepEqual(seen, [])
    })
  }

  test('a discard that throws does not become an unhandled rejection', async () => {
    const seen = await unhandled(async () => {
      const work = Promise.withResolvers<number>()
      const waiting = orAbort(work.promise, AbortSignal.abort(new Error('enough')), () => {
        throw new Error('discard')
      })
      await assert.rejects(waiting, /enough/)
      work.resolve(1)
    })
    assert.deepEqual(seen, [])
  })
})

describe('within', () => {
  test('gives the result or the rejection of the work', async () => {
    assert.equal(await within(Promise.resolve(1), 1000), 1)
    await assert.rejects(within(Promise.reject(new Error('own')), 1000), /own/)
  })

  test('rejects at the limit; a late rejection of the work is not an unhandled one', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const work = Promise.withResolvers<never>()
    const late = within(work.promise, 50)
    for (let millis = 0; millis < 60; millis++) t.mock.timers.tick(1)
    await assert.rejects(late, LimitExceeded)
    work.reject(new Error('late'))
    await settled()
  })
})

/** Holds the event loop for so long. */

describe('TimeLimit', () => {
  test('an event loop that stood still does not use the limit up', async () => {
    let struckAt: number | undefined
    const begin = performance.now()
    using limit = new TimeLimit(80, () => {
      struckAt = performance.now()
    })
    stall(200)
    await pause(20)
    assert.equal(struckAt, undefined)
    assert.ok(limit.stalledMillis >= 150, `noticed ${limit.stalledMillis} ms`)
    while (struckAt === undefined) await pause(5)
    assert.ok(struckAt - begin >= 200 + 55, `struck after ${struckAt - begin} ms`)
  })

  test('what has arrived when its last part ends is read first', async (t) => {
    await using pair = await socketPair()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let struck = false
    const limit = new TimeLimit(40, () => {
      struck = true
    })
    const answered = once(pair.reader, 'data').then(() => limit[Symbol.dispose]())
    for (let part = 0; part < 3; part++) t.mock.timers.tick(10)
    pair.writer.write('the answer')
    t.mock.timers.tick(10)
    await answered
    await nextPoll()
    assert.equal(struck, false)
  })

  test('does not strike once it is disposed of', async () => {
    let struck = false
    new TimeLimit(4, () => {
      struck = true
    })[Symbol.dispose]()
    await pause(20)
    assert.equal(struck, false)
  })
})

describe('pause', () => {
  test('resolves after its time, and leaves no listener', async () => {
    const { signal } = new AbortController()
    await pause(1, { signal })
    assert.equal(getEventListeners(signal, 'abort').length, 0)
  })

  test('rejects with the reason, also of a signal that has aborted already', async () => {
    const controller = new AbortController()
    const waiting = pause(60_000, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    await assert.rejects(pause(60_000, { signal: controller.signal }), /enough/)
  })
})

describe('nextPoll', () => {
  test('resolves after what has arrived from the network has been taken in, also out of a timer', async () => {
    await using pair = await socketPair()
    let taken = 0
    pair.reader.on('data', (data) => {
      taken += data.length
    })
    for (let round = 1; round <= 10; round++) {
      await pause(1)
      pair.writer.write('x')
      await nextPoll()
      assert.equal(taken, round)
    }
  })
})
