import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { pause } from '../../src/abort.ts'
import { LimitedSignal } from '../../src/limited-signal.ts'

describe('LimitedSignal', () => {
  test('aborts when its time is up, and says so; not once it is disposed of', async () => {
    const { signal } = new AbortController()
    const limited = new LimitedSignal(signal, 4)
    await once(limited.signal, 'abort')
    assert.equal(limited.hasStruck, true)
    const other = new LimitedSignal(signal, 4)
    other[Symbol.dispose]()
    await pause(20)
    assert.equal(other.signal.aborted, false)
  })

  test('aborts with the reason of the given signal, also of one that has aborted already', async () => {
    const reason = new Error('enough')
    using limited = new LimitedSignal(AbortSignal.abort(reason), 60_000)
    assert.equal(limited.signal.reason, reason)
    assert.equal(limited.hasStruck, false)
  })
})
