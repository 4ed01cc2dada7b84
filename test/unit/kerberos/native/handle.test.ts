import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Handle } from '../../../../src/kerberos/native/handle.ts'

function handle(pointer: bigint | null = 7n) {
  const released: bigint[] = []
  return { handle: new Handle(pointer, (each) => released.push(each)), released }
}

test('a handle is released once, and at once when no call holds it', () => {
  const { handle: it, released } = handle()
  it[Symbol.dispose]()
  it[Symbol.dispose]()
  assert.deepEqual(released, [7n])
})

test('a handle is not released before the last call that holds it ends', () => {
  const { handle: it, released } = handle()
  const [first, second] = [it.hold(), it.hold()]
  it[Symbol.dispose]()
  first()
  first()
  assert.deepEqual(released, [])
  assert.equal(it.held, 7n)
  second()
  assert.deepEqual(released, [7n])
})

test('the object that a call puts into a handle is released', () => {
  const { handle: it, released } = handle(null)
  const done = it.hold()
  it[Symbol.dispose]()
  it.replace(9n)
  done()
  assert.deepEqual(released, [9n])
})

test('a disposed handle cannot be used', () => {
  const { handle: it } = handle()
  it[Symbol.dispose]()
  assert.throws(() => it.pointer, /disposed/)
  assert.throws(() => it.hold(), /disposed/)
  assert.throws(() => it.held, /not held/)
})

test('an empty handle releases nothing', () => {
  const { handle: it, released } = handle(null)
  it[Symbol.dispose]()
  assert.deepEqual(released, [])
})
