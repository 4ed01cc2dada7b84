import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { CallQueue, pooledCalls, type QueueState } from '../../../src/kerberos/call-queue.ts'

const aborted = (signal: AbortSignal, state: QueueState) => Object.assign(new Error('gave up'), { state, signal })

function call(queue: CallQueue, realm: string, signal?: AbortSignal, abandon?: (value: string) => void) {
  const ends = Promise.withResolvers<string>()
  const state = { started: false, end: ends.resolve, fail: ends.reject }
  const result = queue.run(
    { purpose: `a ticket in ${realm}`, realm },
    () => {
      state.started = true
      return ends.promise
    },
    { signal, aborted, ...(abandon === undefined ? {} : { abandon }) },
  )
  // Some tests look at it only later.
  result.catch(() => undefined)
  return Object.assign(state, { result })
}

test('no more calls run than there are places, and the next starts when one ends', async () => {
  const queue = new CallQueue(2)
  const [a, b, c] = [call(queue, 'A'), call(queue, 'B'), call(queue, 'C')]
  await turn()
  assert.deepEqual([a.started, b.started, c.started], [true, true, false])
  a.end('a')
  assert.equal(await a.result, 'a')
  await turn()
  assert.equal(c.started, true)
  b.end('b')
  c.end('c')
  assert.deepEqual([await b.result, await c.result, queue.size], ['b', 'c', 0])
})

test('one silent realm holds one place and leaves the other to other realms', async () => {
  const queue = new CallQueue(2)
  const silent = [call(queue, 'SILENT'), call(queue, 'SILENT'), call(queue, 'SILENT')]
  const other = call(queue, 'OTHER')
  await turn()
  assert.deepEqual(
    silent.map((each) => each.started),
    [true, false, false],
  )
  assert.equal(other.started, true)
  other.end('done')
  assert.equal(await other.result, 'done')
})

test("calls on libuv's pool leave half of its threads to files and names", async () => {
  const calls = ['A', 'B', 'C', 'D'].map((name) => call(pooledCalls, name))
  await turn()
  const places = Number(process.env.UV_THREADPOOL_SIZE ?? 4) >= 4 ? 2 : 1
  assert.equal(calls.filter(({ started }) => started).length, places)
  for (const each of calls) each.end('')
  await Promise.all(calls.map(({ result }) => result))
})

test('a caller that gives up leaves at once, its call keeps the place, and its result is cleared away', async () => {
  const queue = new CallQueue(1)
  const leave = new AbortController()
  const abandoned: string[] = []
  const first = call(queue, 'A', leave.signal, (value) => abandoned.push(value))
  const second = call(queue, 'B')
  await turn()
  leave.abort()
  await assert.rejects(first.result, (error: Error & { state: QueueState }) => error.state.running)
  await turn()
  assert.equal(second.started, false)
  first.end('late')
  await turn()
  assert.deepEqual(abandoned, ['late'])
  assert.equal(second.started, true)
  second.end('b')
  assert.equal(await second.result, 'b')
})

test('a call whose caller gives up while it waits never starts, and the error names the calls ahead', async () => {
  const queue = new CallQueue(1)
  const leave = new AbortController()
  const first = call(queue, 'A')
  const second = call(queue, 'B', leave.signal)
  await turn()
  leave.abort()
  await assert.rejects(second.result, ({ state }: Error & { state: QueueState }) => {
    assert.equal(state.running, false)
    assert.deepEqual(
      state.ahead.map((ahead) => ahead.realm),
      ['A'],
    )
    return true
  })
  first.end('a')
  await turn()
  assert.deepEqual([second.started, queue.size], [false, 0])
})

test('a signal that has aborted already starts nothing', async () => {
  const queue = new CallQueue(1)
  const never = call(queue, 'A', AbortSignal.abort())
  await assert.rejects(never.result, /gave up/)
  assert.deepEqual([never.started, queue.size], [false, 0])
})

test('a call that fails, or throws before it starts, gives its place back', async () => {
  const queue = new CallQueue(1)
  const failing = call(queue, 'A')
  await turn()
  failing.fail(new Error('broken'))
  await assert.rejects(failing.result, /broken/)
  const throwing = queue.run(
    { purpose: '', realm: 'A' },
    () => {
      throw new Error('at once')
    },
    { signal: undefined, aborted },
  )
  await assert.rejects(throwing, /at once/)
  assert.equal(queue.size, 0)
})

test('leaves no listener on the signal', async () => {
  const queue = new CallQueue(1)
  const { signal } = new AbortController()
  let listeners = 0
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++
    add(...args)
  }
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--
    remove(...args)
  }
  const one = call(queue, 'A', signal)
  await turn()
  one.end('x')
  await one.result
  await turn()
  assert.equal(listeners, 0)
})
