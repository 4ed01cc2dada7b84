import assert from 'node:assert/strict'
import { test } from 'node:test'
import { patiently } from '../../../../src/drivers/sqlserver/throttling.ts'
import { PoolsmithError } from '../../../../src/errors.ts'

const throttled = (): PoolsmithError =>
  new PoolsmithError('busy', { code: 'SERVER_THROTTLED', phase: 'login', transient: true })
const late = new PoolsmithError('late', { code: 'CONNECT_TIMEOUT', phase: 'tls', transient: true })

/** Fails with each of these in turn, then succeeds. */
const failing = (...errors: readonly unknown[]) => {
  const left = [...errors]
  return async (): Promise<string> => {
    if (left.length > 0) throw left.shift()
    return 'in'
  }
}
const endless = { signal: new AbortController().signal, left: () => Number.POSITIVE_INFINITY, random: () => 0 }

test('a server that is busy is tried again, and any other error is thrown at once', async () => {
  assert.equal(await patiently(failing(throttled()), endless), 'in')
  await assert.rejects(patiently(failing(late), endless), late)
  await assert.rejects(patiently(failing(throttled(), late), endless), late)
})

test('with no time left for a pause the error of the server is thrown, without the pause', async () => {
  const error = throttled()
  await assert.rejects(patiently(failing(error), { ...endless, left: () => 10 }), error)
})

test('a limit that strikes in a pause, or in a later try, does not hide why there was one', async () => {
  const first = throttled()
  const inPause = new AbortController()
  setTimeout(() => inPause.abort(late), 10)
  await assert.rejects(patiently(failing(first), { ...endless, signal: inPause.signal }), first)

  const inTry = new AbortController()
  const open = failing(first)
  const hanging = async (): Promise<string> => {
    const outcome = await open()
    inTry.abort(late)
    inTry.signal.throwIfAborted()
    return outcome
  }
  await assert.rejects(patiently(hanging, { ...endless, signal: inTry.signal }), first)
})
