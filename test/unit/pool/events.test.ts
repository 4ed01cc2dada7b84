import assert from 'node:assert/strict'
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { test } from 'node:test'
import { EventHub } from '../../../src/pool/events.ts'

test('listeners get the payload until they are removed', () => {
  const hub = new EventHub()
  const heard: number[] = []
  const listener = ({ id }: { id: number }): void => void heard.push(id)
  hub.on('pool:acquired', listener)
  hub.emit('pool:acquired', { id: 1, waitedMillis: 0 })
  hub.off('pool:acquired', listener)
  hub.emit('pool:acquired', { id: 2, waitedMillis: 0 })
  assert.deepEqual(heard, [1])
})

test('the same events are published on diagnostics channels, with the pool that they are about', () => {
  const hub = new EventHub()
  const origin = { poolName: 'sales', system: 'postgresql', host: 'db', port: 5432 } as const
  hub.origin = origin
  const heard: unknown[] = []
  const listener = (message: unknown): void => void heard.push(message)
  subscribe('poolsmith:pool:released', listener)
  const payload = { id: 1, heldMillis: 5 }
  hub.emit('pool:released', payload)
  unsubscribe('poolsmith:pool:released', listener)
  hub.emit('pool:released', payload)
  assert.deepEqual(heard, [{ ...origin, ...payload }])
})

test('interest() knows listeners and subscribers that come and go', () => {
  const hub = new EventHub()
  const interested = hub.interest('pool:acquired')
  assert.equal(interested(), false)
  const listener = (): void => undefined
  hub.on('pool:acquired', listener)
  assert.equal(interested(), true)
  hub.off('pool:acquired', listener)
  assert.equal(interested(), false)
  channel('poolsmith:pool:acquired').subscribe(listener)
  assert.equal(interested(), true)
  channel('poolsmith:pool:acquired').unsubscribe(listener)
  assert.equal(interested(), false)
})

test('a listener that throws disturbs neither the other listeners nor the emitter', async () => {
  const hub = new EventHub()
  let heard = 0
  hub.on('pool:destroyed', () => {
    throw new Error('listener broke')
  })
  hub.on('pool:destroyed', () => heard++)
  const warned = once(process, 'warning')
  hub.emit('pool:destroyed', {})
  assert.equal(heard, 1)
  const [warning] = await warned
  assert.match(String(warning), /listener broke/)
})

test('a setting that needs attention is a warning of the process too, from every part', async () => {
  const warned = once(process, 'warning')
  new EventHub().emit('config:warning', { path: 'extra.region', message: 'is another' })
  const [warning] = (await Promise.race([warned, new Promise((resolve) => setImmediate(resolve, []))])) as [
    (Error & { code?: string })?,
  ]
  assert.deepEqual(
    [warning?.name, warning?.code, warning?.message],
    ['PoolsmithWarning', 'CONFIG_WARNING', 'extra.region: is another'],
  )
})
