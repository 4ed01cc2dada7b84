import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Shelf } from '../../../src/pool/shelf.ts'

interface Item {
  readonly id: number
}

function shelf(max = 3, create?: () => Promise<Item>) {
  let last = 0
  const destroyed: number[] = []
  const made = new Shelf<Item>({
    max,
    create: create ?? (async () => ({ id: ++last })),
    destroy: async ({ id }) => {
      destroyed.push(id)
    },
  })
  return { shelf: made, destroyed }
}

// The contract with tarn: when one of these fails after an upgrade, tarn's insides have moved and shelf.ts must follow.
describe('the behaviour of tarn that shelf.ts needs', () => {
  test('an opened item is free when the promise resolves, and counts as pending before', async () => {
    const { shelf: s } = shelf()
    const opening = s.open()
    assert.equal(s.numPendingCreates(), 1)
    const item = await opening
    assert.equal(s.numPendingCreates(), 0)
    assert.equal(s.numFree(), 1)
    assert.equal(s.top, item)
  })

  test('take() and withdraw() move an item to the used, release() moves it back on top', async () => {
    const { shelf: s } = shelf()
    const a = await s.open()
    const b = await s.open()
    assert.deepEqual(s.idle, [a, b])
    assert.equal(s.take(), b)
    assert.deepEqual([s.numUsed(), s.numFree()], [1, 1])
    assert.equal(s.withdraw(a), true)
    assert.equal(s.withdraw(a), false)
    assert.equal(s.take(), undefined)
    assert.equal(s.release(a), true)
    assert.equal(s.release(a), false)
    assert.equal(s.release(b), true)
    assert.deepEqual(s.idle, [a, b])
  })

  test('the limit counts the used, the free and those being opened', async () => {
    const { shelf: s } = shelf(3)
    await s.open()
    await s.open()
    s.take()
    assert.equal(s.hasRoom, true)
    const third = s.open()
    assert.equal(s.hasRoom, false)
    await third
    assert.equal(s.hasRoom, false)
  })

  test('discard() takes an item off at once, wherever it is, and has it destroyed', async () => {
    const { shelf: s, destroyed } = shelf()
    const a = await s.open()
    const b = await s.open()
    s.take()
    const gone = [s.discard(a), s.discard(b), s.discard(b)]
    assert.deepEqual([s.numUsed(), s.numFree()], [0, 0])
    await Promise.all(gone)
    assert.deepEqual(destroyed.sort(), [1, 2])
  })

  test('a failed create rejects with its own error, leaves no slot taken and is not tried again', async () => {
    let creates = 0
    const { shelf: s } = shelf(1, async () => {
      creates++
      throw new Error('refused')
    })
    await assert.rejects(s.open(), /refused/)
    assert.equal(s.numPendingCreates(), 0)
    assert.equal(s.hasRoom, true)
    await new Promise((resolve) => setTimeout(resolve, 250))
    assert.equal(creates, 1)
  })

  test('no timer of tarn is left while items are idle', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const { shelf: s } = shelf()
    const item = await s.open()
    s.take()
    s.release(item)
    assert.equal(timers(), before)
  })

  test('destroy() waits for creates and destroys that are under way', async () => {
    let finish: (item: Item) => void = () => undefined
    const { shelf: s, destroyed } = shelf(
      1,
      () =>
        new Promise((resolve) => {
          finish = resolve
        }),
    )
    const opening = s.open()
    let ended = false
    const ending = s.destroy().then(() => {
      ended = true
    })
    await new Promise(setImmediate)
    assert.equal(ended, false)
    finish({ id: 7 })
    await Promise.all([opening, ending])
    assert.deepEqual(destroyed, [7])
  })
})
