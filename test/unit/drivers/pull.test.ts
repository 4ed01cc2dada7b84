import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pull } from '../../../src/drivers/pull.ts'

/** The calls of the source, in order. */
function pulled(withStop = false): { readonly pull: Pull<number>; readonly told: string[] } {
  const told: string[] = []
  const source = { pause: () => told.push('pause'), resume: () => told.push('resume') }
  const stop = { stop: () => told.push('stop') }
  return { pull: new Pull<number>({ ...source, ...(withStop ? stop : {}) }), told }
}

test('the source rests while items wait to be taken', async () => {
  const { pull, told } = pulled()
  pull.take(() => [1, 2])
  pull.offer()
  assert.deepEqual(told, ['pause'])
  assert.equal(await pull.next(), 1)
  assert.equal(await pull.next(), 2)
  const third = pull.next()
  assert.deepEqual(told, ['pause', 'resume'])
  pull.take(() => [3])
  pull.offer()
  assert.equal(await third, 3)
  pull.take(() => [4])
  pull.settle()
  assert.equal(await pull.next(), 4)
  assert.equal(await pull.next(), undefined)
})

test('a source that has nothing more rests for a moment, and longer while an item waits to be taken', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pull, told } = pulled()
  pull.rest()
  pull.rest()
  assert.deepEqual(told, ['pause'])
  t.mock.timers.tick(1)
  assert.deepEqual(told, ['pause', 'resume'])
  pull.rest()
  pull.take(() => [1])
  pull.offer()
  t.mock.timers.tick(1)
  assert.deepEqual(told, ['pause', 'resume', 'pause'])
  assert.equal(await pull.next(), 1)
  void pull.next()
  assert.deepEqual(told, ['pause', 'resume', 'pause', 'resume'])
  pull.rest()
  pull.settle()
  assert.deepEqual(told.slice(4), ['pause', 'resume'], 'the session goes on')
  t.mock.timers.tick(1)
  pull.rest()
  assert.equal(told.length, 6)
})

test('the reader waits until the server has ended the statement', async () => {
  const { pull } = pulled()
  const end = pull.next()
  pull.offer()
  pull.settle()
  assert.equal(await end, undefined)
})

test('an error of the consumer reaches the reader, and the rest of the answer is dropped', async () => {
  for (const withStop of [false, true]) {
    const { pull, told } = pulled(withStop)
    const mine = new Error('mine')
    pull.take(() => [1])
    pull.offer()
    pull.take(() => {
      throw mine
    })
    assert.deepEqual(told, withStop ? ['pause', 'stop'] : ['pause', 'resume'])
    pull.take(() => assert.fail('nothing is taken any more'))
    pull.settle(new Error('cancelled'))
    await assert.rejects(pull.next(), (error) => error === mine)
  }
})

test('an error of the server reaches the reader', async () => {
  const { pull } = pulled()
  const waiting = pull.next()
  pull.settle(new Error('server'))
  await assert.rejects(waiting, /server/)
})

test('an abort wakes the reader at once, also one that came before', async () => {
  const { pull } = pulled()
  const abort = new AbortController()
  const waiting = pull.next(abort.signal)
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(pull.next(abort.signal), /enough/)
})

test('discarding waits for the end of the statement, or for the signal', async () => {
  for (const withStop of [false, true]) {
    const { pull, told } = pulled(withStop)
    pull.take(() => [1])
    pull.offer()
    const abort = new AbortController()
    const first = pull.discard(abort.signal)
    abort.abort()
    assert.equal(await first, false)
    assert.equal(await pull.discard(abort.signal), false)
    const second = pull.discard(new AbortController().signal)
    pull.settle()
    assert.equal(await second, true)
    assert.equal(pull.settled, true)
    assert.equal(told.includes('stop'), withStop)
  }
})
