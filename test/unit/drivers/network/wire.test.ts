import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { StreamClosed, Wire } from '../../../../src/drivers/network/wire.ts'

const never = new AbortController().signal

test('reads exactly what is asked for and leaves the rest to the next reader', async () => {
  const stream = new PassThrough()
  stream.write(Buffer.from('headbo'))
  const wire = new Wire(stream, never)
  assert.equal(String(await wire.read(4)), 'head')
  const body = wire.read(4)
  await sleep(5)
  stream.write(Buffer.from('dyrest'))
  assert.equal(String(await body), 'body')
  assert.equal(wire.waiting, 4)
  wire[Symbol.dispose]()
  const rest = new Promise((resolve) => stream.once('data', resolve))
  assert.equal(String(await rest), 'rest')
})

test('half a message does not keep the event loop busy', async () => {
  const stream = new PassThrough()
  stream.write(Buffer.from('ha'))
  let looked = 0
  const read = stream.read.bind(stream)
  stream.read = (size) => {
    looked++
    return read(size)
  }
  const limit = new AbortController()
  const wire = new Wire(stream, limit.signal)
  const pending = wire.read(4)
  await sleep(20)
  limit.abort(new Error('enough'))
  await assert.rejects(pending, { message: 'enough' })
  assert.ok(looked < 10, `${looked} looks`)
})

test('an end, an error and a destroyed stream reject the read', async () => {
  const ended = new PassThrough()
  ended.end(Buffer.from('ha'))
  await assert.rejects(new Wire(ended, never).read(4), StreamClosed)
  const broken = new PassThrough()
  const pending = new Wire(broken, never).read(4)
  broken.destroy(new Error('cut'))
  await assert.rejects(pending, { name: 'StreamClosed', message: 'cut' })
  const gone = new PassThrough()
  gone.destroy()
  await assert.rejects(new Wire(gone, never).read(1), StreamClosed)
})

test('dispose removes every listener', async () => {
  const stream = new PassThrough()
  const events = ['readable', 'end', 'close', 'error']
  const counts = (): number[] => events.map((event) => stream.listenerCount(event))
  const before = counts()
  const wire = new Wire(stream, never)
  wire[Symbol.dispose]()
  assert.deepEqual(counts(), before)
})
